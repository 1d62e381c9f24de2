"""Values beside telling names: `DB_PASSWORD=…`, `"apiKey": "…"`, `--token …`, `<secret>…</secret>`, `password is …`.

One search serves all notations. Where a telling word stands, the whole identifier around it is read, `names` says
what it promises, and the value behind the operator is believed as far as the promise goes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kaizen_analytics.redact.data import load_data, load_pattern
from kaizen_analytics.redact.spans import PLACEHOLDER_START
from kaizen_analytics.redact.values import (
    Promise,
    is_password,
    is_placeholder,
    is_random_key,
    is_secret,
    is_uuid,
    judge_name,
    measure_shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kaizen_analytics.redact.rules import Hit, Span

ANCHORS = tuple(load_data("patterns")["anchors"].encode().split())
_ASSIGNED = load_pattern("assigned")
_ARGUMENT = load_pattern("argument")
_COMMAND_BEFORE = load_pattern("command_before")
_NAME_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$.-\xc3\xb1"
_LONGEST_NAME = 64
_SECOND_WORDS = frozenset({b"key", b"tok", b"sec", b"pas"})
_OUTSIDE_NAMES = bytes(byte not in _NAME_BYTES for byte in range(256))
_ASSIGNING = np.zeros(256, np.bool_)
_ASSIGNING[list(b"\"'`])}[{ \t\r\n=:>,|!?+-<")] = True
"""Bytes that can follow a name which is given a value."""


class _Name(NamedTuple):
    """An identifier around an anchor: its range, its text, and what that promises."""

    start: int
    end: int
    text: bytes
    promise: Promise


def find_name_breaks(view: bytes) -> NDArray[np.int64]:
    """Return where no identifier can go on, ascending; the end of `view` is the last.

    >>> find_name_breaks(b"api_key = x").tolist()
    [7, 8, 9, 11]
    """
    # Translated bytes are 0 and 1, so they are flags without another copy.
    return np.append(np.flatnonzero(np.frombuffer(view.translate(_OUTSIDE_NAMES), np.bool_)), len(view))


def locate_names(view: bytes, breaks: NDArray[np.int64], anchors: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the ranges of the identifiers around `anchors` (ascending) that something can be assigned to.

    Telling words are everywhere; only a few of them stand in front of an operator, so all are looked at at once.

    >>> view = b"my api_key = x"
    >>> locate_names(view, find_name_breaks(view), np.array([7]))
    [(3, 10)]
    """
    if not len(anchors):
        return []
    following = np.searchsorted(breaks, anchors)
    ends = np.minimum(breaks[following], anchors + _LONGEST_NAME)
    starts = np.where(following > 0, breaks[following - 1] + 1, 0)
    starts = np.maximum(starts, anchors - _LONGEST_NAME)
    first = np.concatenate(([True], ends[1:] != ends[:-1]))
    behind = np.frombuffer(view, np.uint8)[np.minimum(ends, len(view) - 1)]
    chosen = first & _ASSIGNING[behind]
    return list(zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True))


def keep_promising(view: bytes, names: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges whose identifier promises something, alone or with the word before it.

    Most telling words stand in names such as `tokens_in`; this throws them out before anything else is looked at.

    >>> keep_promising(b"api_key=x tokens_in=y", [(0, 7), (10, 19)])
    [(0, 7), (10, 19)]
    """
    return [
        (start, end)
        for start, end in names
        if judge_name(view[start:end]) is not Promise.NOTHING
        or (view[start - 1 : start] == b" " and view[start : start + 3].lower() in _SECOND_WORDS)
    ]


def find_assignment(hit: Hit, end: int, *, vendor: bool = False) -> Span | None:
    """Return the range of the value that the identifier from `hit.start` to `end` is given, if it is a credential.

    With `vendor`, the identifier holds the name of a vendor: it need not promise more, but the value must be random.

    >>> from kaizen_analytics.redact.rules import Hit
    >>> view = b'api_key = "a8Fj2kQ9zLp3"'
    >>> find_assignment(Hit(view, 0, 0, len(view)), 7)
    (11, 23)
    """
    text = hit.view[hit.start : end]
    promise = judge_name(text)
    if promise is Promise.NOTHING or promise is Promise.WEAK:
        text = _read_words(hit, text)
        promise = judge_name(text)
    if promise is Promise.NOTHING and not vendor:
        return None
    name = _Name(hit.start, end, text, promise)
    assigned = _ASSIGNED.match(hit.view, end, min(hit.high, end + 5200))
    if assigned:
        return _judge_assigned(hit, name, assigned)
    argument = _ARGUMENT.match(hit.view, end, min(hit.high, end + 500))
    return _judge_argument(hit, name, argument) if argument and not vendor else None


def _read_words(hit: Hit, text: bytes) -> bytes:
    """Return an identifier that begins with `key` or the like with the word before it, as in `API key`."""
    view, start = hit.view, hit.start
    if start == hit.low or view[start - 1] != ord(" ") or text[:3].lower() not in _SECOND_WORDS:
        return text
    words = view[max(hit.low, start - _LONGEST_NAME) : start - 1]
    return words[len(words.rstrip(_NAME_BYTES)) :] + b" " + text


def _value_of(match: re.Match[bytes]) -> tuple[Span, bool]:
    """Return the range of the value and whether quotes stand around it."""
    groups = match.groupdict()
    for name in ("double", "single", "back"):
        if groups.get(name) is not None:
            return match.span(name), True
    start = match.start("bare")
    value = match["bare"].rstrip(b".,:;!?)")
    return (start, start + len(value)), bool(match["quote"])


def _judge_assigned(hit: Hit, name: _Name, match: re.Match[bytes]) -> Span | None:
    span, quoted = _value_of(match)
    value = hit.view[slice(*span)]
    operator = match["op"].strip()
    if hit.view.startswith(PLACEHOLDER_START, span[1]):
        return None
    if not _operator_fits(hit, name, operator, value, quoted=quoted):
        return None
    if not quoted and span[1] < hit.high and hit.view[span[1]] in b"([{" and value.replace(b".", b"").isalnum():
        return None
    # The text of an element has its own ends, as a quoted value has.
    return span if _believe(name, value, quoted=quoted or operator[:1] == b">") else None


_KEYED = re.compile(rb"(?i)(?:key|name|id)=[\"']$")


_MIXED = re.compile(rb"(?=\S*\d)(?=\S*[a-z])(?=\S*[!#$%^&*?~+=@]|\S*[A-Z])\S{8,}")


def _operator_fits(hit: Hit, name: _Name, operator: bytes, value: bytes, *, quoted: bool) -> bool:
    """Whether this notation assigns at all: `a > b` and `a::b` do only in some surroundings."""
    before = hit.view[max(hit.low, name.start - 8) : name.start]
    if operator in {b":", b""} and name.text.rsplit(b" ", 1)[-1].lower() == b"pass":
        # Test runners report `PASS: name`, and one can pass `--all`.
        return operator == b":" and (quoted or (name.text == b"pass" and _MIXED.match(value) is not None))
    if operator in {b"::", b"->", b"<-", b"==", b"===", b"!=", b"!=="}:
        return quoted
    if operator in {b"", b"\\"}:
        return quoted or name.text[:1] == b"-"  # only an option goes on with its value on the next line
    if operator == b",":
        return value[:8] != name.text[:8]  # else a list of names that are alike
    if operator == b":":
        return before[-1:] != b":"  # `arn:aws:secretsmanager:eu-west-1:1234:secret:name`
    return operator[:1] != b">" or before[-1:] in (b"<", b"/", b":") or _KEYED.search(before) is not None


def _judge_argument(hit: Hit, name: _Name, match: re.Match[bytes]) -> Span | None:
    """Judge `--password VALUE` and `ENV DB_PASSWORD VALUE`: the word behind a name, without an operator."""
    flagged = hit.view[name.start : name.start + 1] == b"-"
    before = hit.view[max(hit.low, name.start - 120) : name.start]
    ends = before[-1:], hit.view[match.end() : match.end() + 1]
    alone = (ends[0] in (b"", b"\n") and ends[1] in (b"", b"\n", b"\r")) or ends in {(b'"', b'"'), (b"'", b"'")}
    span, quoted = _value_of(match)
    value = hit.view[slice(*span)]
    if not flagged and not alone and not _COMMAND_BEFORE.search(before):
        # In a sentence (`use key …`, `no such token …`), what can hardly be anything but a key.
        loud = name.text.isupper() and b"_" in name.text and _MIXED.match(value)
        return span if loud or (name.promise in (Promise.SECRET, Promise.WEAK) and is_random_key(value)) else None
    if not flagged and not any(48 <= byte <= 57 for byte in value):
        return None
    return span if _believe(name, value, quoted=quoted or flagged) else None


def _believe(name: _Name, value: bytes, *, quoted: bool) -> bool:
    """Whether a value is what its name promises; a name that promises nothing is that of a vendor."""
    if name.promise is Promise.NOTHING:
        return _is_vendor_value(name.text, value)
    if name.promise is Promise.WEAK:
        return is_random_key(value)
    if b" " in value:
        return _is_sentence_secret(name.text, value)
    if is_uuid(value) and _SESSION.search(name.text):
        return False  # sessions are numbered with UUIDs everywhere, and those open nothing
    check = is_password if name.promise is Promise.PASSWORD else is_secret
    return check(value, quoted=quoted or name.text.isupper())


_SESSION = re.compile(rb"(?i)sess(?:ion)?[_-]?(?:id|key)$")
_PHRASE = re.compile(rb"[a-z]{3,9}(?: [a-z]{3,9}){2,23}")


def _is_sentence_secret(name: bytes, value: bytes) -> bool:
    """Whether a value with spaces is a pass phrase or recovery words, not prose."""
    lowered = name.lower()
    if any(word in lowered for word in (b"phrase", b"mnemonic", b"seed", b"recovery")):
        return _PHRASE.fullmatch(value) is not None
    shape = measure_shape(value)
    return (
        value.count(b" ") <= 3 and shape.digits >= 2 and shape.symbols - value.count(b" ") >= 2 and shape.entropy >= 3.3
    )


_VENDOR_VALUE = re.compile(rb"[\w+/=.~-]{15,400}")
_HEX_GROUPS = re.compile(rb"[0-9a-f]{20,}(?:-[0-9a-f]{8,})*")
_UUID_VENDORS = re.compile(rb"(?i)heroku|snyk|hubspot|kucoin|messagebird|squarespace")


def _is_vendor_value(name: bytes, value: bytes) -> bool:
    """Whether the value beside a vendor's name is a random token rather than a setting of that vendor."""
    if not _VENDOR_VALUE.fullmatch(value) or is_placeholder(value):
        return False
    if is_uuid(value):
        return _UUID_VENDORS.search(name) is not None
    if _HEX_GROUPS.fullmatch(value):
        return True
    shape = measure_shape(value)
    mixed = shape.upper >= 2 and shape.lower >= 2
    plain = b"-" not in value.strip(b"-") and value.count(b"/") + value.count(b".") <= 2
    if shape.digits < 2 or shape.letters < 6 or not (mixed or plain):
        return False
    return shape.entropy >= (3.2 if plain else 3.6) and is_secret(value, quoted=True)
