"""Values beside telling names: `DB_PASSWORD=…`, `"apiKey": "…"`, `--token …`, `<secret>…</secret>`, `password is …`.

One search serves all notations. Where a telling word stands, the whole identifier around it is read, `judge_name` says
what it promises, and the value behind the operator, or below the name in a table, is believed as far as the promise
goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kaizen_analytics.redact.data import byte_table, load_bytes, load_data, load_pattern, spell
from kaizen_analytics.redact.spans import PLACEHOLDER_START, Category
from kaizen_analytics.redact.values import (
    HOST_WORDS,
    IDENTIFYING_NAMES,
    RESERVED_DOMAINS,
    VENDORS,
    Promise,
    are_accounts,
    is_account,
    is_firm,
    is_given_name,
    is_name_part,
    is_organisation,
    is_own_domain,
    is_password,
    is_person,
    is_place,
    is_placeholder,
    is_random_key,
    is_secret,
    is_spelt_with_digits,
    is_tenant,
    is_uuid,
    judge_name,
    measure_shape,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kaizen_analytics.redact.rules import Hit, Span


def _list_anchors() -> tuple[bytes, ...]:
    """Return the words that make a name worth a look: those of `anchors`, and names that hold none of them."""
    words = load_data("patterns")["anchors"].split()
    words += [name for name in IDENTIFYING_NAMES if (len(name) > 3 or not name.isascii()) and not _holds(name, words)]
    return tuple(form.encode().lower() for word in dict.fromkeys(words) for form in spell(word))


def _holds(name: str, words: list[str]) -> bool:
    return any(word in name for word in words)


ANCHORS = _list_anchors()
_ASSIGNED = load_pattern("assigned")
_ARGUMENT = load_pattern("argument")
_COMMAND_BEFORE = load_pattern("command_before")
_NAME_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$.-" + bytes(
    byte for byte in range(0x80, 0xF0) if byte not in b"\xc2\xe2\xef"
)
"""What identifiers consist of; letters beyond ASCII too, but not what begins their punctuation in UTF-8."""
_LONGEST_NAME = 64
_SECOND_WORDS = frozenset({b"key", b"tok", b"sec", b"pas", b"nam", b"id", b"own", b"dom", b"num", b"ute"})
_IN_NAME = byte_table(_NAME_BYTES)
_ASSIGNING = byte_table(b"*\"'`])}[{( \t\r\n=:>,|!?+-<\xef")
"""Bytes that can follow a name which is given a value."""
_COLUMN_ENDS = byte_table(b"\"'`*|,;\t \r\n()")
"""Bytes that can stand around the name of a column."""


class _Name(NamedTuple):
    """An identifier around an anchor: its range, its text, and what that promises."""

    start: int
    end: int
    text: bytes
    promise: Promise


Place = tuple[int, int, bool, bool]
"""The range of an identifier, whether it can be assigned something, and whether it can be the name of a column."""


def locate_names(view: bytes, anchors: NDArray[np.int64]) -> list[Place]:
    """Return the identifiers around `anchors` (ascending) that something can be assigned to, and those of columns.

    Telling words are everywhere; only a few of them stand in front of an operator, so all are looked at at once.

    >>> view = b"my api_key = x"
    >>> locate_names(view, np.array([7]))
    [(3, 10, True, True)]
    """
    characters = np.frombuffer(b"\n" + view + b"\0", np.uint8)
    ends = _walk(characters, anchors + 1, 1) - 1
    behind = characters[ends + 1]
    first = (np.diff(ends, prepend=-1) != 0) & (_ASSIGNING[behind] | _COLUMN_ENDS[behind])
    anchors, ends = anchors[first], ends[first]
    starts = _walk(characters, anchors, -1)
    assigned = _ASSIGNING[characters[ends + 1]]
    column = _COLUMN_ENDS[characters[ends + 1]] & _COLUMN_ENDS[characters[starts]]
    chosen = assigned | column
    return list(zip(*(part[chosen].tolist() for part in (starts, ends, assigned, column)), strict=True))


def _walk(characters: NDArray[np.uint8], positions: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Return where the identifiers end in which `positions` stand, in one direction."""
    reached, going = positions.copy(), np.arange(len(positions))
    for _ in range(_LONGEST_NAME):
        inside = _IN_NAME[characters[positions]]
        going, positions = going[inside], positions[inside] + step
        if not len(going):
            break
        reached[going] = positions
    return reached


def keep_promising(view: bytes, names: list[Place]) -> list[Place]:
    """Return the places whose identifier promises something, alone or with the word before it.

    Most telling words stand in names such as `tokens_in`; this throws them out before anything else is looked at.

    >>> keep_promising(b"api_key=x tokens_in=y", [(0, 7, True, False), (10, 19, True, False)])
    [(0, 7, True, False), (10, 19, True, False)]
    """
    return [
        place
        for place in names
        if judge_name(view[place[0] : place[1]]) is not Promise.NOTHING
        or (view[place[0] - 1 : place[0]] == b" " and view[place[0] : place[0] + 3].lower() in _SECOND_WORDS)
    ]


def find_assignment(hit: Hit, end: int, *, vendor: bool = False) -> tuple[int, int, Category] | None:
    """Return the range and the category of the value that the identifier from `hit.start` to `end` is given.

    With `vendor`, the identifier holds the name of a vendor: it need not promise more, but the value must be random.

    >>> from kaizen_analytics.redact.rules import Hit
    >>> view = b'api_key = "a8Fj2kQ9zLp3"'
    >>> find_assignment(Hit(view, 0, 0, len(view)), 7)
    (11, 23, <Category.ASSIGNMENT: 'kv'>)
    """
    text = hit.view[hit.start : end]
    promise = judge_name(text)
    if promise in (Promise.NOTHING, Promise.WEAK, Promise.LABEL):
        words = _read_words(hit, text)
        told = judge_name(words)
        if told is not Promise.NOTHING:
            text, promise = words, told
    if promise is Promise.NOTHING and not vendor:
        return None
    name = _Name(hit.start, end, text, promise)
    if promise in _IDENTITIES:
        return _judge_identity(hit, name)
    assigned = _ASSIGNED.match(hit.view, end, min(hit.high, end + 5200))
    if assigned:
        return _judge_assigned(hit, name, assigned)
    argument = _ARGUMENT.match(hit.view, end, min(hit.high, end + 500))
    if not argument or vendor:
        return None
    span = _judge_argument(hit, name, argument)
    return (*span, Category.ASSIGNMENT) if span else None


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


def _judge_assigned(hit: Hit, name: _Name, match: re.Match[bytes]) -> tuple[int, int, Category] | None:
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
    category = judge_value(name.promise, name.text, value, quoted=quoted or operator[:1] == b">")
    return (*span, category) if category else None


_NAMED = load_pattern("named_somebody")


def _judge_identity(hit: Hit, name: _Name) -> tuple[int, int, Category] | None:
    """Judge who or what a name is given: `"owner": "mrossi"`, `user=mrossi`, `<user>mrossi</user>`."""
    match = _NAMED.match(hit.view, name.end, min(hit.high, name.end + 200))
    before = hit.view[max(hit.low, name.start - 1) : name.start]
    if match is None or before in (b".", b"$", b"@"):
        return None
    form = match.lastgroup or ""
    flagged = name.text[:1] == b"-" and name.text.strip(b"-") != b"user"  # which may be where a package goes
    spaced = form == "spaced" and name.text != b"username" and name.promise is not Promise.HOST
    if (before in (b"<", b":")) != (form == "element") or (form == "flagged") > flagged or spaced:
        return None
    start, promise = match.start(form), name.promise
    if promise is Promise.LABEL and _is_of_somebody(hit, name):
        promise = Promise.AGENT
    for value in (match[form], _FIRST_PIECE.split(match[form])[0]):
        category = judge_value(promise, name.text, value, quoted=True)
        if category and value.lower() != name.text.lower():
            return start, start + len(value), category
    return None


def _is_of_somebody(hit: Hit, name: _Name) -> bool:
    """Whether a bare `name` belongs to a record, a call or an element that is called after people."""
    parent = _PARENT.search(hit.view, max(hit.low, name.start - 120), name.start)
    if parent is None:
        return False
    title = parent[1] or parent[2]
    return judge_name(title) in (Promise.AGENT, Promise.PERSON, Promise.ACCOUNT) or title.lower() in _RECORDS


_PARENT = load_pattern("parent")
_RECORDS = load_bytes("records_of_people")
_FIRST_PIECE = re.compile(rb",(?=.)|;(?=.)| [(<-]|  ")


_ENCODED = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")
_KEYED = re.compile(rb"(?i)(?:key|name|id)=[\"']$")


_DRAWN = re.compile(rb"[0-9a-f]{32,64}|(?=[A-Za-z]*[A-Z][a-z]+[A-Z][A-Za-z]*[A-Z])[A-Za-z]{24,64}")
_MIXED = re.compile(rb"(?=\S*\d)(?=\S*[a-z])(?=\S*[!#$%^&*?~+=@]|\S*[A-Z])\S{8,}")


def _operator_fits(hit: Hit, name: _Name, operator: bytes, value: bytes, *, quoted: bool) -> bool:
    """Whether this notation assigns at all: `a > b` and `a::b` do only in some surroundings."""
    before = hit.view[max(hit.low, name.start - 8) : name.start]
    if operator in {b":", b""} and name.text.rsplit(b" ", 1)[-1].lower() == b"pass":
        # Test runners report `PASS: name`, and one can pass `--all`.
        return operator == b":" and (quoted or (name.text == b"pass" and _MIXED.match(value) is not None))
    if operator in {b"::", b"->", b"<-", b"==", b"===", b"!=", b"!=="}:
        return quoted or (operator == b"::" and _ENCODED.fullmatch(value) is not None)
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
        sure = name.promise is Promise.SECRET and _DRAWN.fullmatch(value) and is_secret(value, quoted=True)
        weak = name.promise in (Promise.SECRET, Promise.WEAK) and is_random_key(value)
        return span if loud or sure or weak else None
    if not flagged and not any(48 <= byte <= 57 for byte in value):
        return None
    return span if judge_value(name.promise, name.text, value, quoted=quoted or flagged) else None


def judge_value(promise: Promise, name: bytes, value: bytes, *, quoted: bool) -> Category | None:
    """Return what a value is, if it is what its name promises; a name that promises nothing is that of a vendor.

    >>> judge_value(Promise.AGENT, b"owner", b"mrossi", quoted=True)
    <Category.USER: 'us'>
    """
    if promise in _IDENTITIES:
        return next((category for category, accept in _IDENTITIES[promise] if accept(value)), None)
    if promise is Promise.NOTHING:
        found = _is_vendor_value(name, value)
    elif promise is Promise.WEAK:
        found = is_random_key(value) or (_VENDOR_NAME.search(name) is not None and _is_vendor_value(name, value))
    elif b" " in value:
        found = _is_sentence_secret(name, value)
    elif is_uuid(value) and _SESSION.search(name):
        found = False  # sessions are numbered with UUIDs everywhere, and those open nothing
    else:
        check = is_password if promise is Promise.PASSWORD else is_secret
        found = check(value, quoted=quoted or name.isupper()) or is_spelt_with_digits(value)
    return Category.ASSIGNMENT if found else None


_VENDOR_NAME = re.compile(b"(?i)" + b"|".join(sorted(VENDORS)))
_MACHINE = re.compile(rb"(?=[\w.-]*[\d-])[A-Za-z][A-Za-z0-9-]{1,62}(?:\.[A-Za-z0-9-]{1,63}){0,6}(?::\d{2,5})?")
_Accept = tuple[Category, Callable[[bytes], bool]]
_A_PERSON: tuple[_Accept, ...] = ((Category.NAME, is_person), (Category.NAME, is_given_name))
_AN_ACCOUNT: tuple[_Accept, ...] = ((Category.USER, is_account), (Category.USER, are_accounts))
_A_FIRM: tuple[_Accept, ...] = ((Category.ORGANISATION, is_organisation),)


def _is_machine(value: bytes) -> bool:
    if value in HOST_WORDS or value.endswith(RESERVED_DOMAINS):
        return False
    return _MACHINE.fullmatch(value) is not None or is_own_domain(value)


_IDENTITIES: dict[Promise, tuple[_Accept, ...]] = {
    Promise.ACCOUNT: (*_AN_ACCOUNT, (Category.NAME, is_given_name), (Category.ORGANISATION, is_tenant)),
    Promise.AGENT: (*_A_PERSON, *_AN_ACCOUNT, (Category.ORGANISATION, is_firm)),
    Promise.PERSON: _A_PERSON,
    Promise.NAME_PART: (*_A_PERSON, (Category.NAME, is_name_part)),
    Promise.LABEL: ((Category.NAME, is_given_name),),
    Promise.HOST: ((Category.HOST, _is_machine),),
    Promise.ORGANISATION: _A_FIRM,
    Promise.TENANT: ((Category.ORGANISATION, is_tenant),),
    Promise.PLACE: ((Category.PERSONAL, is_place),),
}
_SESSION = re.compile(rb"(?i)sess(?:ion)?[_-]?(?:id|key)$")
_APP_PASSWORD = re.compile(rb"[a-zA-Z]{4}(?: [a-zA-Z]{4}){3}")
_PHRASE = re.compile(rb"[a-z]{3,9}(?: [a-z]{3,9}){2,23}")


def _is_sentence_secret(name: bytes, value: bytes) -> bool:
    """Whether a value with spaces is a pass phrase or recovery words, not prose."""
    lowered = name.lower()
    if any(word in lowered for word in (b"phrase", b"mnemonic", b"seed", b"recovery")):
        return _PHRASE.fullmatch(value) is not None
    if _APP_PASSWORD.fullmatch(value):
        return True
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
