"""Long unbroken runs of letters, digits and `+/_-`: encoded text, tokens without a known prefix, addresses.

Runs and addresses have no literal to search for. One vectorised look at the class of every byte finds the places
where they can stand; only there is Python asked.

A check digit of personal data makes one of ten, of 97 or of a hundred random numbers of the right form pass, so each
form is as narrow as its issuer defines it.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.redact.data import byte_table, load_pattern
from kaizen_analytics.redact.rules import load_rules
from kaizen_analytics.redact.spans import Category
from kaizen_analytics.redact.values import measure_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


_SHORTEST_RUN = 16
_LETTER, _DIGIT, _MARK, _DOT, _COLON, _DASH = 1, 2, 4, 8, 16, 32
_CLASSES = bytearray(256)
for _byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
    _CLASSES[_byte] = _LETTER
for _byte in b"0123456789":
    _CLASSES[_byte] = _DIGIT
for _byte in b"+/_":
    _CLASSES[_byte] = _MARK
_CLASSES[ord("-")] = _DASH
_CLASSES[ord(".")] = _DOT
_CLASSES[ord(":")] = _COLON
_TABLE = bytes(_CLASSES)
_IN_RUN = bytes(kind & (_LETTER | _DIGIT | _MARK | _DASH) > 0 for kind in _CLASSES)

_LONGEST_DECODED = 4_000_000
_PROBE = 32
_LINE = (60, 76)
"""How long the lines of wrapped base64 are."""
_HEX_TEXT = load_pattern("hex_text")
_BASE_32 = re.compile(rb"[A-Z2-7]{24,}")
_DISCORD = re.compile(rb"[MNO][\w-]{22,28}\.[\w-]{6}\.[\w-]{25,}")
_PREFIXED = re.compile(
    rb"(?P<prefix>[a-z][a-z0-9]{1,15}(?:[_-][a-z0-9]{1,12}){0,3}[_-])(?P<tail>[A-Za-z0-9]{20,}(?:[_-][A-Za-z0-9_-]{4,})*)"
)
_TELLING = load_pattern("telling_prefix")
_OBJECT = load_pattern("object_prefix")
_TAILS = tuple(rule for rule in load_rules("tokens") if rule.form == "tail")
_WHOLE_RULES = tuple(rule for rule in load_rules("tokens") if rule.form == "whole")
_WHOLES = re.compile(b"|".join(b"(" + form.pattern.pattern + b")" for form in _WHOLE_RULES))
_TAIL_MARKS = frozenset(b"|!.:")


def classify(view: bytes) -> NDArray[np.uint8]:
    """Return the class of every byte of `view`.

    >>> classify(b"a1.").tolist()
    [1, 2, 8]
    """
    return np.frombuffer(view.translate(_TABLE), np.uint8)


def find_runs(view: bytes, classes: NDArray[np.uint8]) -> list[tuple[int, int, bool, bool]]:
    """Return runs of at least `_SHORTEST_RUN` letters, digits and marks that may be something.

    Each is a start and an end, whether it may be a token, and whether it may be encoded text.

    >>> view = b"id " + b"a1" * 12
    >>> find_runs(view, classify(view))[0][:2]
    (3, 27)
    """
    inside: NDArray[np.bool_] = np.frombuffer(b"\0" + view.translate(_IN_RUN) + b"\0", np.bool_)
    for distance in (1, 2, 4, 8):  # what holds for the next sixteen bytes
        inside = inside[:-distance] & inside[distance:]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2] + _SHORTEST_RUN - 1
    digits = np.append(np.flatnonzero(classes == _DIGIT), len(view))
    has_digit: NDArray[np.bool_] = digits[np.searchsorted(digits, starts)] < ends
    characters = np.frombuffer(view + view[-1:] * _PROBE, np.uint8)
    heads = characters[starts[:, None] + np.arange(_PROBE)]
    text_like = _may_be_text(heads, ends - starts)
    tokens = has_digit & _may_be_tokens(characters, starts, ends)
    upper = has_digit & ~_IS_LOWER[heads[:, :_SHORTEST_RUN]].any(axis=1)
    wrapped = (has_digit | text_like) & (ends - starts >= _LINE[0]) & (ends - starts <= _LINE[1])
    chosen = tokens | text_like | upper | wrapped
    return [
        (start, end, token, text or (capitals and view[start:end].isupper()))
        for start, end, token, text, capitals in zip(
            *(column[chosen].tolist() for column in (starts, ends, tokens, text_like, upper)), strict=True
        )
    ]


def _may_be_text(heads: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which runs begin as encoded text does."""
    text_like: NDArray[np.bool_] = np.count_nonzero(_TEXT_HEADS[heads[:, _GROUPS]], axis=1) >= _LEAST_HEADS
    for head in _COMPRESSED:
        text_like |= (heads[:, 0] == head[0]) & (heads[:, 1] == head[1])
    beginnings = heads[:, :_WIDE_HEAD]
    text_like |= np.count_nonzero(_WIDE_HEADS[beginnings], axis=1) * 3 >= _WIDE_HEAD
    # Encoded text has capitals among its first letters, or it is hex.
    text_like &= _IS_UPPER[beginnings].any(axis=1) | _IN_HEX[beginnings].all(axis=1)
    rows = np.flatnonzero(text_like)
    text_like[rows[~_begin_texts(heads[rows], sizes[rows])]] = False
    return text_like


def _begin_texts(heads: NDArray[np.uint8], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which of the first characters of runs are hex, base32, or base64 that `_begins_text` may accept."""
    groups = _SEXTETS[heads].reshape(-1, _PROBE // 4, 4) @ np.array([1 << 18, 1 << 12, 1 << 6, 1])
    decoded = (groups[:, :, None] >> np.array([16, 8, 0]) & 0xFF).reshape(-1, _PROBE // 4 * 3)
    known = np.minimum(sizes - (sizes % 4 == 1), _PROBE) * 3 // 4 - 3
    outside = np.arange(decoded.shape[1]) >= known[:, None]
    chosen: NDArray[np.bool_] = (_IS_PRINTABLE[decoded] | outside).all(axis=1)
    chosen |= np.count_nonzero((decoded == 0) & ~outside, axis=1) * 6 >= known
    decoded[outside] = -1
    for part in (np.sort(decoded[:, ::2], axis=1), np.sort(decoded[:, 1::2], axis=1)):
        chosen |= np.count_nonzero(np.diff(part, axis=1), axis=1) < 3 + (part[:, 0] < 0)
    for packed in _PACKED:
        chosen |= (decoded[:, 0] == packed[0]) & (decoded[:, 1] == packed[1])
    first = heads[:, :_SHORTEST_RUN]
    chosen |= _IN_HEX[first].all(axis=1) | _IN_BASE_32[first].all(axis=1)
    return chosen


def _may_be_tokens(
    characters: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which runs `find_run_tokens` has to look at: those of the sizes and between the bytes of a form."""
    sizes, firsts = ends - starts, characters[starts]
    before = np.where(starts > 0, characters[starts - 1], 0)
    whole = (sizes >= 34) & (sizes <= 130)
    prefixed = (firsts >= ord("a")) & (firsts <= ord("z")) & (sizes >= 23) & (sizes <= 200)
    chosen: NDArray[np.bool_] = whole | prefixed | np.isin(before, list(_TAIL_MARKS)) | (characters[ends] == ord("."))
    return chosen


_WIDE_HEAD = 24
_WIDE_HEADS = byte_table(b"ABEQ")
"""Of what much of the base64 of UTF-16 consists: every second byte is nought, or one alphabet's."""
_IS_UPPER = byte_table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_IS_LOWER = byte_table(b"abcdefghijklmnopqrstuvwxyz")
_IN_BASE_32 = byte_table(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_SEXTETS = np.zeros(256, np.int64)
_SEXTETS[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")] = np.arange(64)
_SEXTETS[list(b"-_")] = 62, 63
_IN_HEX = byte_table(b"0123456789abcdefABCDEFxX")
_GROUPS = np.arange(5) * 4
_LEAST_HEADS = 3
"""How many of five must begin so; the others may begin inside a character beyond ASCII."""
_TEXT_HEADS = byte_table(b"ACDEGIJKLMNOPQRSTUVWXYZabcdefwxyz0123456789")
"""What every fourth character of encoded text can be: it holds the upper bits of a byte, which are few in ASCII."""


_PACKED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""How gzip and zlib begin."""
_COMPRESSED = (b"H4", b"eJ", b"eN", b"eA")
"""How their base64 begins."""
_PLAIN = bytes.maketrans(b"-_", b"+/")


def decode_run(run: bytes) -> bytes | None:
    """Return the text that a base64, base32 or hex run stands for, or None when it stands for none.

    >>> decode_run(base64.b64encode(b"the value is here, look"))
    b'the value is here, look'
    >>> decode_run(base64.b64encode("le clé, voilà".encode("utf-16-le"))).decode()
    'le clé, voilà'
    """
    run = run[:_LONGEST_DECODED]
    if run.isalnum() and (digits := _HEX_TEXT.fullmatch(run)):
        return _as_text(bytes.fromhex(digits["digits"].decode("ascii")))
    if _BASE_32.fullmatch(run):
        return _as_text(_decode(base64.b32decode, run, 8))
    # Base64 of text mixes cases; paths and lower-case names, which are most runs, do not.
    if run.islower() or run.isupper() or run.count(b"/") * 10 > len(run):
        return None
    run = run[:-1] if len(run) % 4 == 1 else run
    plain = run.translate(_PLAIN)
    head = _decode(base64.b64decode, plain[:_PROBE], 4)
    return _as_text(_decode(base64.b64decode, plain, 4)) if head and _begins_text(head[:-3]) else None


def _decode(decode: Callable[[bytes], bytes], characters: bytes, group: int) -> bytes | None:
    try:
        return decode(characters + b"=" * (-len(characters) % group))
    except binascii.Error:
        return None


_DUMP = load_pattern("dump")
_DUMP_LINE = re.compile(rb"(?m)^[ \t]*[0-9a-fA-F]{4,16}:?[ \t]+((?:[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2}){0,3} {0,2})+)")


_LISTS = (
    (16, re.compile(rb"0[xX][0-9a-fA-F]{2}(?:[ ,;]{1,3}0[xX][0-9a-fA-F]{2}){11,}"), re.compile(rb"[xX](..)")),
    (10, re.compile(rb"\[\d{1,3}(?:, ?\d{1,3}){11,}(?=[\],])"), re.compile(rb"(\d+)")),
)
_PAIRS = re.compile(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{2}(?P<mark>[ :,-])[0-9a-fA-F]{2}(?:(?P=mark)[0-9a-fA-F]{2}){10,}")
_WRAPPED = re.compile(rb"(?P<full>(?:[A-Za-z0-9+/]{60,76}\r?\n)+)(?:[A-Za-z0-9+/]{1,76}(?![\w+/-]))?")


def find_dumps(view: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the ranges of hex dumps (`xxd`, `hexdump -C`) and lists of bytes, and the text that each shows.

    >>> [text for _, _, text in find_dumps(b"00000000: 7468 6520 7661 6c75 6520 6973 2068 6572  the value is her")]
    [b'the value is her']
    >>> [text for _, _, text in find_dumps(str(list(b"the value is here")).encode())]
    [b'the value is here']
    """
    for match in _DUMP.finditer(view) if b"0000000" in view else ():
        digits = b"".join(b"".join(line[1].split())[:32] for line in _DUMP_LINE.finditer(match[0]))
        yield from _show(match, bytes.fromhex(digits[: len(digits) // 2 * 2].decode("ascii")))
    for base, form, number in _LISTS:
        for match in form.finditer(view):
            numbers = [int(one, base) for one in number.findall(match[0])]
            if max(numbers) < 256:
                yield from _show(match, bytes(numbers))
    for match in _PAIRS.finditer(view) if _has_pairs(view) else ():
        yield from _show(match, bytes.fromhex(match[0].replace(match["mark"], b"").decode("ascii")))


def _show(match: re.Match[bytes], raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    text = _as_text(raw)
    if text is not None:
        yield match.start(), match.end(), text


def _has_pairs(view: bytes) -> bool:
    """Whether eight pairs of hex digits, each behind a mark, stand in a row anywhere; a pattern would take long."""
    marks, digits = (np.frombuffer(view.translate(table), np.bool_) for table in (_IS_PAIR_MARK, _IS_HEX))
    pairs: NDArray[np.bool_] = marks[:-2] & digits[1:-1] & digits[2:]
    for step in (3, 6, 12):
        pairs = pairs[:-step] & pairs[step:]
    return bool(pairs.any())


def find_wrapped(view: bytes, found: list[tuple[int, int, bool, bool]]) -> Iterator[tuple[int, int, bytes]]:
    r"""Yield base64 that goes on over lines: its range, and the text that it stands for.

    >>> view = b"\n".join((b"c29tZSBsaW5l" * 6, b"c29tZSBsaW5l"))
    >>> [(start, end) for start, end, _ in find_wrapped(view, find_runs(view, classify(view)))]
    [(0, 85)]
    """
    done = 0
    for start, end, *_ in found:
        if start >= done and _LINE[0] <= end - start <= _LINE[1] and (lines := _WRAPPED.match(view, start)):
            done = lines.end()
            text = decode_run(b"".join(lines[0].split()).rstrip(b"="))
            if text is None:
                done = lines.end("full") - 1
                text = decode_run(b"".join(lines["full"].split()))
            if text is not None:
                yield start, done, text


_PRINTABLE = bytes(range(32, 127)) + b"\a\t\n\r\x1b" + bytes(range(128, 256))
_IS_PRINTABLE = byte_table(_PRINTABLE)
_DENSE = bytes(range(128, 256))


def _begins_text(head: bytes) -> bool:
    """Whether these bytes can begin a text, packed or not: nearly all could stand in one, or it is UTF-16."""
    if (
        head.startswith(_PACKED)
        or min(len(set(head[::2])), len(set(head[1::2]))) <= 3
        or head.count(0) * 6 >= len(head)
    ):
        return True
    high = len(head) - len(head.translate(None, _DENSE))
    return not head.translate(None, _PRINTABLE) and (high * 3 <= len(head) or _is_utf_8(head))


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(text) - 3  # cut inside a character
    return True


def _as_text(raw: bytes | None) -> bytes | None:
    """Return decoded bytes if they are text, packed or not: UTF-8 or UTF-16 with hardly a control character."""
    if raw and raw.startswith(_PACKED):
        try:
            raw = zlib.decompressobj(47).decompress(raw, _LONGEST_DECODED)  # what was cut off is left out
        except zlib.error:
            return None
    if raw and raw.count(0) * 6 >= len(raw):
        form = "utf-16-be" if raw[::2].count(0) > raw[1::2].count(0) else "utf-16-le"
        raw = raw[: len(raw) // 2 * 2].decode(form, "replace").encode()
    if not raw or not _is_utf_8(raw):
        return None
    odd = len(raw.translate(None, _PRINTABLE))
    return raw if odd * 33 <= len(raw) else None


def find_run_tokens(view: bytes, start: int, end: int) -> Iterator[tuple[int, int, Category, str]]:
    """Yield what a run is by its own form; every such form holds digits.

    >>> view = b"x SK" + b"0a" * 16
    >>> [kind for *_, kind in find_run_tokens(view, 2, len(view))]
    ['twilio']
    """
    match = _WHOLES.match(view, start, min(len(view), end + 2)) if 34 <= end - start <= 130 else None
    if match and match.end() >= end and match.lastindex:
        yield (*match.span(), Category.TOKEN, _WHOLE_RULES[match.lastindex - 1].id)
    if view[start - 1 : start] and view[start - 1] in _TAIL_MARKS:
        yield from _find_tails(view, start, end)
    if view[end : end + 1] == b"." and view[start] in b"MNO":
        match = _DISCORD.match(view, start, end + 64)
        if match:
            yield (*match.span(), Category.TOKEN, "discord-bot")
    if 97 <= view[start] <= 122:
        yield from _find_prefixed(view, start, end)


def _find_tails(view: bytes, start: int, end: int) -> Iterator[tuple[int, int, Category, str]]:
    mark = view[start - 1 : start]
    for form in _TAILS:
        if form.keywords == (mark,):
            for match in form.pattern.finditer(view, max(0, start - form.before), end + 64):
                if match.start() >= start:
                    break
                if match.end() > start:
                    yield (*match.span(), form.category, form.id)


def _find_prefixed(view: bytes, start: int, end: int) -> Iterator[tuple[int, int, Category, str]]:
    run = view[start:end]
    if (
        len(run) > 200
        or b"/" in run
        or b"+" in run
        or (b"_" not in run and b"-" not in run)
        or view[start - 1 : start] in (b".", b"/", b"%")
    ):
        return
    match = _PREFIXED.match(view, start, end)
    if (
        match
        and match.end() == end
        and view[end : end + 1] not in (b"/", b"+", b"=", b"(")
        and _is_issued(match["prefix"], match["tail"])
    ):
        yield start, end, Category.GENERIC, "prefixed-token"


def _is_issued(prefix: bytes, tail: bytes) -> bool:
    """Whether prefix and tail look like a vendor's `live_…` token rather than the id of an object."""
    telling = _TELLING.search(prefix.rstrip(b"_-")) is not None
    if not telling and (_OBJECT.match(prefix) or prefix.endswith(b"-")):
        return False
    if not telling and tail.startswith(b"01"):
        return False  # numbered objects: `msg_01…`, `req_01…`
    core = re.split(rb"[_-]", tail)[0]
    shape = measure_shape(core)
    if shape.digits < 2 or shape.letters < 5:
        return False
    if shape.upper and shape.lower:
        return shape.entropy >= 3.4
    return telling and shape.size not in (40, 64) and shape.entropy >= 3.2


_ADDRESS = load_pattern("address")
_NOBODY = load_pattern("nobodys_address")
_NO_VERSION = re.compile(rb"10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|(?:\d{1,3}\.)*\d{3}\.(?:\d{1,3}\.)*\d{3}")
_VERSION_BEFORE = load_pattern("version_before")
_ADDRESS_6 = load_pattern("address_6")
_MAC = re.compile(rb"(?<![\w:-])[0-9a-fA-F]{2}(?P<mark>[:-])[0-9a-fA-F]{2}(?:(?P=mark)[0-9a-fA-F]{2}){4}(?![\w:-])")


def _is_machine_address(view: bytes, start: int, end: int) -> bool:
    """Whether a dotted quad is the address of a machine: not loopback, not a public resolver, not a version."""
    value = view[start:end]
    if _NOBODY.fullmatch(value):
        return False
    before = view[max(0, start - 36) : start]
    if before.endswith(b"@"):
        return _NO_VERSION.match(value) is not None
    return not _VERSION_BEFORE.search(before) or before.endswith(b"//")


def _is_machine_address_6(value: bytes) -> bool:
    """Whether an IPv6 form is long enough to be one and not loopback, a time or a mere prefix."""
    return (
        value.count(b":") >= 3
        and len(value) >= 8
        and any(byte in b"abcdefABCDEF" or byte == 58 for byte in value)
        and value.lower() != b"fe80::1"
    )


def _is_card(value: bytes) -> bool:
    """Whether a MAC form is of a network card: neither nobody nor everybody."""
    return len(set(value.lower())) > 2


def find_addresses(view: bytes, classes: NDArray[np.uint8]) -> Iterator[tuple[int, int, Category, str]]:
    """Yield IPv4, IPv6 and MAC addresses.

    >>> view = b"from 203.0.113.7 to 127.0.0.1"
    >>> [(start, end) for start, end, *_ in find_addresses(view, classify(view))]
    [(5, 16)]
    """
    yield from _find_dotted(view, classes)
    yield from _find_colons(view, classes)


def _find_dotted(view: bytes, classes: NDArray[np.uint8]) -> Iterator[tuple[int, int, Category, str]]:
    dots = np.flatnonzero(classes == _DOT)
    dots = dots[(dots > 0) & (dots < len(classes) - 1)]
    dots = dots[(classes[dots - 1] == _DIGIT) & (classes[dots + 1] == _DIGIT)]
    if len(dots) < 3:
        return
    close = np.flatnonzero(dots[2:] - dots[:-2] <= 8)
    for dot in dots[close].tolist():
        match = _ADDRESS.search(view, max(0, dot - 3), dot + 16)
        if match and match.start() < dot < match.end() and _is_machine_address(view, *match.span()):
            yield (*match.span(), Category.ADDRESS, "ip-address")


def _find_colons(view: bytes, classes: NDArray[np.uint8]) -> Iterator[tuple[int, int, Category, str]]:
    """Look where two colons or dashes stand at most five bytes apart between letters or digits."""
    yield from _find_marked(view, np.flatnonzero(classes == _COLON), 5)
    marks = np.flatnonzero(classes == _DASH)
    if len(marks) >= 5:
        steady = marks[:-4][(marks[4:] - marks[:-4]) == 12]
        yield from _find_marked(view, steady, 0)


def _find_marked(view: bytes, marks: NDArray[np.int64], gap: int) -> Iterator[tuple[int, int, Category, str]]:
    if gap:
        if len(marks) < 3:
            return
        marks = marks[:-2][np.diff(marks)[:-1] + np.diff(marks)[1:] <= 2 * gap]
    done = 0
    for mark in marks.tolist():
        if mark < done:
            continue
        for pattern, category, kind in (
            (_MAC, Category.MAC, "mac-address"),
            (_ADDRESS_6, Category.ADDRESS, "ip-address-6"),
        ):
            match = pattern.search(view, max(0, mark - 5), mark + 42)
            if (
                match
                and match.start() <= mark < match.end()
                and (_is_card if pattern is _MAC else _is_machine_address_6)(match[0])
            ):
                done = match.end()
                yield (*match.span(), category, kind)
                break


_LEAST_DIGITS = 6
_LONGEST = 24
_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORD_BEFORE = _UPPER + _UPPER.lower() + _DIGITS + b"_.-%"


_FIRST, _SECOND, _IS_DIGIT, _IN_WORD = 1, 2, 4, 8
_NUMBER_CLASSES = bytes(
    _FIRST * (byte in _DIGITS + _UPPER + b"+(")
    | _IN_WORD * (byte in _WORD_BEFORE)
    | _SECOND * (byte in _UPPER + b" " + _DIGITS)
    | _IS_DIGIT * (byte in _DIGITS)
    for byte in range(256)
)


def _table(members: bytes) -> bytes:
    return bytes(byte in members for byte in range(256))


_IS_HEX, _IS_PAIR_MARK = _table(_DIGITS + b"abcdefABCDEF"), _table(b" :,-")


def find_personal(view: bytes) -> Iterator[tuple[int, int, Category, str]]:
    """Yield the ranges of cards, accounts, telephone and national numbers, their categories and rules.

    >>> [(start, end, rule) for start, end, _, rule in find_personal(b"IBAN DE89 3704 0044 0532 0130 00, thanks")]
    [(5, 32, 'iban')]
    """
    done = 0
    for start in _find_starts(view).tolist():
        if start < done or not _ANY.match(view, start):
            continue
        for rule in _RULES:
            match = rule.pattern.match(view, start)
            if match and (rule.check is None or rule.check(match)):
                done = match.end("value")
                yield (*match.span("value"), rule.category, rule.id)
                break


def _find_starts(view: bytes) -> NDArray[np.int64]:
    """Return where a number can begin: behind no other word, with enough digits to follow, and no ISO date."""
    classes = np.frombuffer(b"\0" + view.translate(_NUMBER_CLASSES) + bytes(_LONGEST), np.uint8)
    # Most capitals begin a word: in a number a digit, a capital or a blank follows.
    starts = np.flatnonzero((classes[1:-1] & _FIRST) > (classes[:-2] & _IN_WORD))
    starts = starts[classes[starts + 2] & _SECOND > 0]
    digits = np.append(np.flatnonzero(classes & _IS_DIGIT), [len(view) + 2 * _LONGEST] * _LEAST_DIGITS) - 1
    starts = starts[digits[np.searchsorted(digits, starts) + _LEAST_DIGITS - 1] < starts + _LONGEST]
    characters = np.frombuffer(view + bytes(8), np.uint8)
    dated: NDArray[np.bool_] = (characters[starts + 4] == ord("-")) & (characters[starts + 7] == ord("-"))
    return np.extract(~dated, starts)


def _number_groups(pattern: bytes, number: int) -> bytes:
    """Give the groups of a pattern names of their own, so that it can stand beside others."""
    return re.sub(rb"\(\?P([<=])(\w+)", rb"(?P\g<1>\g<2>%d" % number, pattern)


_RULES = tuple(rule for rule in load_rules("personal") if rule.form == "digits")
_ANY = re.compile(b"|".join(_number_groups(rule.pattern.pattern, number) for number, rule in enumerate(_RULES)))
"""All forms at once: one look where most numbers are none of them."""
