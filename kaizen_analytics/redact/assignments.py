"""Values beside telling names: `DB_PASSWORD=…`, `"apiKey": "…"`, `--token …`, `<secret>…</secret>`, `password is …`.

One search serves all notations. Where a telling word stands, the whole identifier around it is read, `names` says
what it promises, and the value behind the operator is believed as far as the promise goes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.redact.names import Promise, judge_name
from kaizen_analytics.redact.placeholders import PLACEHOLDER_START
from kaizen_analytics.redact.values import (
    is_password,
    is_placeholder,
    is_secret,
    is_uuid,
    measure_shape,
)

if TYPE_CHECKING:
    from kaizen_analytics.redact.rules import Hit, Span

ANCHORS = tuple(
    b"pass pwd pw secret token cred key auth jwt bearer mnemonic seed otp sid kennwort contrase senha".split(),
)
_OPERATOR = (
    rb"(?P<close>[\"'`\])}]{0,3})"
    rb"(?:\s{0,2}:\s{0,2}&?(?:'static )?[A-Za-z_][\w.\[\]<>|]{0,30}(?=\s{0,2}=\s{0,2}[\"'`]|\s=\s)\s{0,2})?"
    rb"(?P<op>\s{0,8}(?:=>|:=|\?=|\+=|={1,3}|!={1,2}|:{1,2}|\|\||->|<-|>)\s{0,8}"
    rb"|\s{0,3},\s{0,4}(?=[\"'`])"
    rb"|[ \t]{1,4}(?=[\"'`])"
    rb"| (?:is|was|are|=) ?:?[ ]{1,2}"
    rb"|\s{0,20},?\s{0,20}[\"']?(?i:value|default|defaultvalue|val|content)[\"']?\s{0,4}[:=]\s{0,4})"
)
_VALUE = (
    rb"(?:(?:new\s+)?[A-Za-z_][\w.:]{0,30}\(\s{0,4}(?=[\"'`]))?"
    rb"(?:[@$bBrRfFuU]{0,2}(?:"
    rb"\"(?P<double>(?:[^\"\\\r\n]|\\[^\r\n]){4,1000})\""
    rb"|'(?P<single>(?:[^'\\\r\n]|\\[^\r\n]){4,1000})'"
    rb"|`(?P<back>[^`\\\r\n]{4,1000})`))"
)
_BARE = rb"(?P<quote>[\"'`]{0,3})(?P<bare>[^\s\"'`<>,;&(){}\[\]|\\]{4,2000})"
_ASSIGNED = re.compile(_OPERATOR + rb"(?:" + _VALUE + rb"|" + _BARE + rb")")
_ARGUMENT = re.compile(rb"[ \t]{1,4}(?P<quote>[\"'`]?)(?P<bare>[^\s\"'`<>|;&(){}\-\\][^\s\"'`<>|;&(){}\\]{3,400})")
_COMMAND_BEFORE = re.compile(
    rb"\b(?:ENV|ARG|set|setx|SET|export|config:set|my|the"
    rb"|(?i:with|identified|enable|(?:login|user|account|username|machine)[ \t]+\S{1,80}))[ \t]+\Z",
)
_NAME_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$.-\xc3\xb1"
_LONGEST_NAME = 64


class Name(NamedTuple):
    """An identifier around an anchor: its range, its text, and what that promises."""

    start: int
    end: int
    text: bytes
    promise: Promise


def find_assignment(hit: Hit, *, vendor: bool = False) -> tuple[int, Span | None]:
    """Return where the identifier at the anchor ends, and the range of its value if that is a credential.

    With `vendor`, the anchor is the name of a vendor: the name need not promise more, but the value must be random.
    """
    name = _read_name(hit)
    if name.promise is Promise.NOTHING and not vendor:
        return name.end, None
    assigned = _ASSIGNED.match(hit.view, name.end, min(hit.high, name.end + 5200))
    if assigned:
        return name.end, _judge_assigned(hit, name, assigned)
    argument = _ARGUMENT.match(hit.view, name.end, min(hit.high, name.end + 500))
    return name.end, _judge_argument(hit, name, argument) if argument and not vendor else None


def _read_name(hit: Hit) -> Name:
    """Read the identifier around the anchor; for a bare `key` also the word before it, as in `API key`."""
    view = hit.view
    left = view[max(hit.low, hit.start - _LONGEST_NAME) : hit.start]
    right = view[hit.start : min(hit.high, hit.start + _LONGEST_NAME)]
    start = hit.start - len(left) + len(left.rstrip(_NAME_BYTES))
    end = hit.start + len(right) - len(right.lstrip(_NAME_BYTES))
    text = view[start:end]
    if start == hit.start and left[-1:] == b" " and text[:3].lower() in (b"key", b"tok", b"sec", b"pas"):
        words = left[:-1]
        text = words[len(words.rstrip(_NAME_BYTES)) :] + b" " + text
    return Name(start, end, text, judge_name(text))


def _value_of(match: re.Match[bytes]) -> tuple[Span, bool]:
    """Return the range of the value and whether quotes stand around it."""
    groups = match.groupdict()
    for name in ("double", "single", "back"):
        if groups.get(name) is not None:
            return match.span(name), True
    start = match.start("bare")
    value = match["bare"].rstrip(b".,:;!?)")
    return (start, start + len(value)), bool(match["quote"])


def _judge_assigned(hit: Hit, name: Name, match: re.Match[bytes]) -> Span | None:
    span, quoted = _value_of(match)
    value = hit.view[slice(*span)]
    operator = match["op"].strip()
    if hit.view.startswith(PLACEHOLDER_START, span[1]):
        return None
    if not _operator_fits(hit, name, operator, quoted=quoted):
        return None
    if not quoted and span[1] < hit.high and hit.view[span[1]] in b"([{" and value.replace(b".", b"").isalnum():
        return None
    return span if _believe(name, value, quoted=quoted) else None


def _operator_fits(hit: Hit, name: Name, operator: bytes, *, quoted: bool) -> bool:
    """Whether this notation assigns at all: `a > b` and `a::b` do only in some surroundings."""
    if operator == b">":
        return name.start > hit.low and hit.view[name.start - 1] in b"</:"
    if operator in {b":", b""} and name.text.rsplit(b" ", 1)[-1].lower() == b"pass":
        return quoted and operator == b":"  # test runners report `PASS: name`, and one can pass `--all`
    if operator in {b"::", b"->", b"<-", b"==", b"===", b"!=", b"!=="}:
        return quoted
    return True


def _judge_argument(hit: Hit, name: Name, match: re.Match[bytes]) -> Span | None:
    """Judge `--password VALUE` and `ENV DB_PASSWORD VALUE`: the word behind a name, without an operator."""
    flagged = hit.view[name.start : name.start + 1] == b"-"
    if not flagged and not _COMMAND_BEFORE.search(hit.view[max(hit.low, name.start - 120) : name.start]):
        return None
    span, quoted = _value_of(match)
    value = hit.view[slice(*span)]
    if not flagged and not any(48 <= byte <= 57 for byte in value):
        return None
    return span if _believe(name, value, quoted=quoted or flagged) else None


def _believe(name: Name, value: bytes, *, quoted: bool) -> bool:
    """Whether a value is what its name promises; a name that promises nothing is that of a vendor."""
    if name.promise is Promise.NOTHING:
        return _is_vendor_value(value)
    if name.promise is Promise.WEAK:
        return _is_random_key(value)
    if b" " in value:
        return _is_sentence_secret(name.text, value)
    if is_uuid(value) and _SESSION.search(name.text):
        return False  # sessions are numbered with UUIDs everywhere, and those open nothing
    check = is_password if name.promise is Promise.PASSWORD else is_secret
    return check(value, quoted=quoted)


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


def _is_random_key(value: bytes) -> bool:
    """Whether the value of a bare `key` or `auth` can hardly be anything but a key: long, mixed, no hash."""
    shape = measure_shape(value)
    return (
        shape.size >= 20
        and shape.digits >= 2
        and shape.upper >= 2
        and shape.lower >= 2
        and shape.entropy >= 3.6
        and not value.startswith((b"sha", b"/", b"http", b"data:"))
        and b"." not in value
        and not is_uuid(value)
        and is_secret(value, quoted=True)
    )


_VENDOR_VALUE = re.compile(rb"[\w+/=.~-]{16,400}")


def _is_vendor_value(value: bytes) -> bool:
    """Whether the value beside a vendor's name is a random token rather than a setting of that vendor."""
    if not _VENDOR_VALUE.fullmatch(value) or is_placeholder(value) or is_uuid(value):
        return False
    shape = measure_shape(value)
    mixed = shape.digits >= 3 and shape.letters >= 6 and value.count(b"/") + value.count(b".") <= 2
    return mixed and shape.entropy >= 3.3 and b"-" not in value.strip(b"-") and is_secret(value, quoted=True)
