"""Views of a text with one layer of escaping taken off, and the way back to the original bytes.

A secret inside JSON inside JSON, a URL or an HTML attribute is not spelled as its rule expects. `unescape` removes
one layer at once: backslash escapes (with any number of backslashes, so nested JSON falls in one step), `%XX` (with
`+` for a space beside it), quoted-printable, character references and tags around a line of HTML. `remove_invisible`
drops what a reader does not see: terminal colours, control characters, zero-width and direction marks, tags inside a
word, line numbers; and it reads letters that look like those of ASCII as these. A view is only searched, never written
out.
"""

from __future__ import annotations

import html
import html.entities
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kaizen_analytics.redact.data import byte_table
from kaizen_analytics.redact.values import LOOKALIKES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Indexes = NDArray[np.int64]
_Escapes = NDArray[np.int64]
"""Escape sequences of a text: a row has the start, the end, and what stands for it: a byte, `_DELETE` for nothing, or a
code point and `_WIDE`."""
_Found = tuple[int, int, int]
"""The range of an escape, and the value that it stands for."""

_LONGEST_RUN = 64
"""Backslashes in a row that still count as one escape; JSON nested six times needs 63."""
_DELETE = 0x100
_WIDE = 0x200
"""Added to the code point of an escape that stands for more than one byte."""
_SPACE = 0x20
_SPACES = np.array([0xA0, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000])
_CSI = 0x9B
_NOTHING = 0x200B
SEPARATOR = b"\n\x1f\n"
"""What stands behind each unit of a buffer: nothing in it belongs to an escape or is invisible."""


def _table(pairs: dict[str, int], default: int = -1) -> NDArray[np.int16]:
    table = np.full(256, default, np.int16)
    for character, value in pairs.items():
        table[ord(character)] = value
    return table


_SIMPLE = _table({"n": 10, "r": 13, "t": 9} | {mark: ord(mark) for mark in "\"'/`_*[]#|~+=-!$&@:<>."})
_HEX = _table({c: int(c, 16) for c in "0123456789abcdefABCDEF"})
_DIGITS, _LETTERS = b"0123456789", b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_Form = tuple[re.Pattern[bytes], bytes, tuple[bytes, ...]]
"""A pattern, how all that it matches begins, and what each of the bytes behind that can be."""
_REFERENCE: _Form = (re.compile(rb"&[A-Za-z]{2,21};"), b"&", (_LETTERS,))
_POINTS: tuple[_Form, ...] = (
    # Code points in hexadecimal: of Rust, of Perl, of JavaScript's old `escape`, of style sheets.
    (re.compile(rb"\\u\{([0-9a-fA-F]{1,6})\}"), b"\\u{", ()),
    (re.compile(rb"\\x\{([0-9a-fA-F]{1,6})\}"), b"\\x{", ()),
    (re.compile(rb"%u([0-9a-fA-F]{4})"), b"%u", ()),
    (re.compile(rb"&#[xX]0{0,4}([0-9a-fA-F]{1,6});|&#0{0,4}(?P<decimal>[0-9]{1,7});"), b"&#", ()),
    (re.compile(rb"\\(00[0-9a-fA-F]{4})"), b"\\00", ()),
    (
        re.compile(rb"\\(?![0-3][0-7]{2} )([0-9a-fA-F]{1,6}) (?=\\[0-9a-fA-F])|\\([2-7][0-9a-fA-F]) "),
        b"\\",
        (_DIGITS + b"abcdefABCDEF",),
    ),
)
_QUOTED: _Form = (
    re.compile(
        rb"=(?:3D|20(?![\w.%+-])|[C-F][0-9A-F](?==[89AB])|(?<=[89A-F][0-9A-F]=)[89AB][0-9A-F]|"
        rb"[2-7][0-9A-F](?==[2-7][0-9A-F]=[2-7][0-9A-F])|(?<==[2-7][0-9A-F]=)[2-7][0-9A-F](?==[2-7][0-9A-F])|"
        rb"(?<==[2-7][0-9A-F]=[2-7][0-9A-F]=)[2-7][0-9A-F]|(?P<end>\r?\n))"
    ),
    b"=",
    (b"23456789ABCDEF\r\n",),
)
"""Of quoted-printable what stands for nothing else: the sign itself, letters beyond ASCII, three in a row, the end of a
long line."""
_LONG_LINE = 70
_DOUBLED: tuple[_Form, ...] = tuple(
    (
        re.compile(rb"QQ(?<!QQQ)[^\sQ,;:.)\]}][^Q\n]{0,400}QQ(?!Q)".replace(b"Q", quote)),
        quote * 2,
        (bytes(set(range(256)) - set(b" \t\n\r\v\f,;:.)]}" + quote)),),
    )
    for quote in (b"'", b'"')
)
_SIGNED = rb"(?:[+-](?=[\w~/\"'{<(.#$@%\\\[\t]|[ ]{2})(?![r-][w-][xsS-])|> ?)"
_SIGNS: tuple[_Form, ...] = (
    (re.compile(rb"\n" + _SIGNED), b"\n", (b"+->",)),
    (re.compile(rb"\\n" + _SIGNED), b"\\n", (b"+->",)),
)
"""The sign of a line of a diff or quotation. An option of a command looks the same; it was read as it is before."""
_TAG: _Form = (
    re.compile(rb"</?(?:td|th|tr|li|p|div|br|pre|code|h[1-6]|d[dt]|option|label|caption)(?:[ /][^<>\n]{0,200})?>"),
    b"<",
    (b"/tlpdbcho",),
)
"""Tags of HTML between which a text stands on a line of its own."""
_COLOUR = rb"[0-9;:?]{0,24}[A-Za-z]"
_CONTROLS: tuple[_Form, ...] = (
    (
        re.compile(rb"\x1b(?:\[" + _COLOUR + rb"|\][^\x07\x1b\r\n]{0,256}(?:\x07|\x1b\\)|\([0-9A-Z])"),
        b"\x1b",
        (b"[](",),
    ),
    (re.compile(rb"\xc2\x9b" + _COLOUR), b"\xc2\x9b", ()),
    (re.compile(rb"\\(?:u001[bB]|x1b|033|e)\[" + _COLOUR), b"\\", (b"ux0e", b"013[")),
    (re.compile(rb"\^\[\[" + _COLOUR), b"^[[", ()),
    # As escapes of one byte left it; behind another such byte it is a part of a longer character.
    (re.compile(rb"(?<![\x80-\xff])\x9b" + _COLOUR), b"\x9b", (_LETTERS + _DIGITS + b";:?",)),
    # Letters that were struck twice, tags that split a word.
    (re.compile(rb"\x08(?<=(?P<letter>.)\x08)(?P=letter)"), b"\x08", ()),
    (
        re.compile(rb"</?(?:span|wbr|em|mark|strong|b|i)(?:[ ][^<>\n]{0,200})?/?>|<!\[CDATA\["),
        b"<",
        (b"/swembi!",),
    ),
    (re.compile(rb"\]\]>"), b"]]>", ()),
)
_BARE_COLOUR: _Form = (re.compile(rb"\[(?:[0-9]{1,3}(?:;[0-9]{1,3}){0,4}m|m(?![a-z]))"), b"[", (_DIGITS + b"m",))
"""A colour from which something took the escape character."""
_NUMBER = re.compile(rb"\n[ ]{0,6}\d{1,6}(?:\t|\xe2\x86\x92)")
_LONGEST_NUMBER = 13
"""The number of a line, with the end of the line before it."""
_INVISIBLE_RANGES = (
    (0x00, 0x08),
    (0x0B, 0x0C),
    (0x0E, 0x1B),  # 0x1c to 0x1f separate, as U+2028 and U+2029 do
    (0x7F, 0x7F),
    (0xAD, 0xAD),
    (0x34F, 0x34F),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE01EF),
)
"""Code points that take no room on a screen: controls, fillers, marks of direction, variation selectors, tags."""


_LONGEST_FORM_WORD = 40
_FORM_WORDS = re.compile(rb"=[\w.:@/~!*'()-]{1,40}(?:\+[\w.:@/~!*'()-]{1,40}){2,}")
_WORD_BREAK = re.compile(rb"[ \t\r\n\"'<>\0]")


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """From positions in a view to positions in the text that it was made of, and back."""

    positions: Indexes
    """Where each escape stands in the view, ascending."""
    removed: Indexes
    """Bytes removed before the i-th escape; one entry more than `positions`."""
    raw_starts: Indexes
    raw_ends: Indexes
    widths: Indexes
    """How many bytes each escape has in the view."""
    whole_units: bool = False
    """Whether what was removed are units, so that nothing changed inside of those that are left."""

    def to_raw(self, positions: Indexes, *, after: bool = False) -> Indexes:
        """Return the original offsets of boundaries before `positions`; never inside an escape.

        Inside a character of several bytes it is the start of its escape, or the end with `after`.
        """
        index = np.searchsorted(self.positions, positions)
        inside = (index > 0) & (positions < (self.positions + self.widths)[index - 1])
        escapes = self.raw_ends if after else self.raw_starts
        return np.where(inside, escapes[index - 1], positions + self.removed[index])

    def tears(self, raw_position: int) -> bool:
        r"""Whether an original position lies inside an escape, as the address in `\njane@…` if read from the `n`."""
        index = int(np.searchsorted(self.raw_starts, raw_position, side="left")) - 1
        return index >= 0 and raw_position < int(self.raw_ends[index])

    def is_plain(self, lows: Indexes, highs: Indexes) -> NDArray[np.bool_]:
        """Whether no escape stood between each pair of offsets of the view."""
        if self.whole_units:
            return np.ones(len(lows), np.bool_)
        first = np.searchsorted(self.positions, lows, side="left")
        last: Indexes = np.searchsorted(self.positions, highs, side="right")
        return np.equal(first, last)

    def to_view(self, raw_positions: Indexes) -> Indexes:
        """Return where original offsets that do not lie inside an escape stand in the view."""
        return raw_positions - self.removed[np.searchsorted(self.raw_starts, raw_positions, side="left")]


class _Text:
    """A text whose patterns are tried only where their first bytes stand: finding those takes a tenth of the time."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.characters = np.frombuffer(raw + b"\0" * 12, np.uint8)
        self._marks = np.flatnonzero(np.frombuffer(raw.translate(_IS_MARK), np.bool_))
        self._kinds = self.characters[self._marks]

    def places(self, literal: bytes) -> Indexes:
        """Return where some bytes stand, ascending; the first of them is no letter, digit or blank."""
        places: Indexes = self._marks[self._kinds == literal[0]]
        for distance, byte in enumerate(literal[1:], 1):
            places = places[self.characters[places + distance] == byte]
        return places

    def members(self, table: bytes) -> Indexes:
        """Return where the bytes stand, none of them a letter, digit or blank, for which `table` holds a one."""
        found: Indexes = self._marks[np.frombuffer(table, np.bool_)[self._kinds]]
        return found

    def find(self, *forms: _Form) -> Iterator[re.Match[bytes]]:
        """Yield the matches of each form in turn, as `finditer` does."""
        for pattern, literal, following in forms:
            places = self.places(literal)
            for distance, members in enumerate(following, len(literal)):
                places = places[byte_table(members)[self.characters[places + distance]]]
            done = 0
            for place in places.tolist():
                if place >= done and (match := pattern.match(self.raw, place)):
                    done = match.end()
                    yield match


_IS_MARK = bytes(byte > 0x7F or not (chr(byte).isalnum() or byte == _SPACE) for byte in range(256))


def unescape(raw: bytes) -> tuple[bytes, OffsetMap] | None:
    """Return the text with one layer of escapes removed and its offset map, or None when it holds no escape.

    >>> unescape(b"a%20b")[0]
    b'a b'
    """
    text = _Text(raw)
    percents = _percents(text)
    others = (*_references(text), *_quoted(text), *_doubled(text), *_signs(text), *_tags(text))
    spaces = _form_spaces(text, percents)
    return _apply(raw, [_from_matches(_points(text)), _backslashes(text), percents, spaces, _from_matches(others)])


def select_units(view: bytes, ends: Indexes, chosen: NDArray[np.bool_]) -> tuple[bytes, Indexes, OffsetMap]:
    r"""Return the chosen of the units that end at `ends`, where they end in this text, and its offset map.

    Each unit ends with `SEPARATOR`: its last byte is kept instead of that of the unit before, so that what stands at
    the start of a unit is mapped to its own start.

    >>> text, ends, step = select_units(b"a\n\x1f\nb\n\x1f\n", np.array([4, 8]), np.array([False, True]))
    >>> text[-4:], step.to_raw(np.array([len(text) - 4])).tolist()
    (b'b\n\x1f\n', [4])
    """
    sizes = np.diff(ends, prepend=0)
    edges = np.flatnonzero(np.diff(chosen, prepend=True, append=True))
    bounds = np.concatenate(([0], ends))[edges]
    starts, stops = np.maximum(bounds[::2] - 1, 0), bounds[1::2] - 1
    removed = np.concatenate(([0], np.cumsum(stops - starts)))
    kept = zip([0, *stops.tolist()], [*starts.tolist(), len(view)], strict=True)
    text = b"".join(view[start:stop] for start, stop in kept)
    offsets = OffsetMap(starts - removed[:-1], removed, starts, stops, np.zeros_like(starts), whole_units=True)
    return text, np.cumsum(sizes[chosen]) + (len(text) - int(sizes[chosen].sum())), offsets


def remove_invisible(raw: bytes) -> tuple[bytes, OffsetMap] | None:
    r"""Return the text without terminal colours and zero-width characters, or None when it holds none.

    >>> remove_invisible(b"\x1b[31mred\x1b[0m")[0]
    b'red'
    >>> remove_invisible("p\u0430ss \u043f\u0430".encode())[0].decode()
    'pass па'
    """
    text = _Text(raw)
    controls = text.members(_IS_CONTROL)
    if not raw.isascii():
        bare = np.concatenate((text.places(b"\xad"), text.places(b"\xa0")))
        controls = np.concatenate((controls, bare[(bare == 0) | (text.characters[bare - 1] < 0x80)]))
    single = np.column_stack((controls, controls + 1, np.full(len(controls), _DELETE)))
    # Sequences come first: the control character that begins one belongs to it.
    found = [_from_matches([*_controls(text), *_numbers(text)]), single]
    if not raw.isascii():
        found = [escapes := _in_order(found), _wide_characters(text, escapes)]
    return _apply(raw, found)


def _cover(size: int, escapes: _Escapes) -> NDArray[np.bool_]:
    """Return which of `size` bytes belong to an escape."""
    covered = np.zeros(size, np.bool_)
    inside, left = escapes[:, 0], escapes[:, 1] - escapes[:, 0]
    while len(inside):
        covered[inside] = True
        longer = left > 1
        inside, left = inside[longer] + 1, left[longer] - 1
    return covered


def _apply(raw: bytes, found: list[_Escapes]) -> tuple[bytes, OffsetMap] | None:
    """Put what each escape stands for at its last bytes and drop the bytes before them."""
    starts, ends, values = np.ascontiguousarray(_in_order(found).T)
    if not len(starts):
        return None
    view = np.frombuffer(raw, np.uint8).copy()
    kept = ~_cover(len(view), np.column_stack((starts, ends)))
    widths = _measure_widths(values)
    for place in range(1, int(widths.max()) + 1):
        shown = widths >= place
        kept[ends[shown] - place] = True
        view[ends[shown] - place] = _encode_byte(values[shown], widths[shown], place)
    removed = np.concatenate(([0], np.cumsum(ends - starts - widths)))
    return view[kept].tobytes(), OffsetMap(starts - removed[:-1], removed, starts, ends, widths)


def _measure_widths(values: Indexes) -> Indexes:
    """Return the bytes of UTF-8 that each value takes."""
    wide = 1 + np.searchsorted(np.array([0x80, 0x800, 0x10000]) + _WIDE, values, side="right")
    return np.where(values < _DELETE, 1, np.where(values == _DELETE, 0, wide))


def _encode_byte(values: Indexes, widths: Indexes, place: int) -> Indexes:
    """Return the byte of each value that stands at `place`, counted from its end."""
    bits = np.where(values < _DELETE, values, values - _WIDE) >> 6 * (place - 1)
    lead = np.array([0x00, 0x00, 0xC0, 0xE0, 0xF0])[widths]
    return np.where(widths == place, bits | lead, bits & 0x3F | 0x80)


def _form_spaces(text: _Text, percents: _Escapes) -> _Escapes:
    """Find the `+` that mean a space: in a word that also holds `%XX`, and in `name=some+words+like+these`."""
    pluses = text.places(b"+")
    near = pluses[:-1][np.diff(pluses) <= _LONGEST_FORM_WORD + 1].tolist()
    names = [text.raw.rfind(b"=", max(0, plus - _LONGEST_FORM_WORD - 1), plus) for plus in near]
    told = [name for name in names if name >= 0 and _FORM_WORDS.match(text.raw, name)]
    marks = sorted([*percents[:, 0].tolist(), *told])
    places = np.searchsorted(marks, pluses).tolist() if marks else []
    starts = [
        plus
        for plus, place in zip(pluses.tolist(), places, strict=False)
        if any(not _WORD_BREAK.search(text.raw, *sorted((mark, plus))) for mark in marks[max(0, place - 1) : place + 1])
    ]
    return _from_matches((start, start + 1, _SPACE) for start in starts)


def _in_order(found: list[_Escapes]) -> _Escapes:
    """Sort and drop any escape that begins inside its predecessor (a backslash before a colour code)."""
    table: _Escapes = np.concatenate(found)
    table = table[np.argsort(table[:, 0], kind="stable")]
    clear = np.ones(len(table), np.bool_)
    clear[1:] = table[1:, 0] >= np.maximum.accumulate(table[:, 1])[:-1]
    return table[clear]


def _backslashes(text: _Text) -> _Escapes:
    r"""Find `\n`, `\"`, `\/`, `\NNN`, `\xHH`, `\uHHHH` and `\UHHHHHHHH` behind any run of backslashes."""
    characters, positions = text.characters, text.places(b"\\")
    if not len(positions):
        return _NOTHING_FOUND
    breaks = np.flatnonzero(np.diff(positions) != 1)
    starts = positions[np.concatenate(([0], breaks + 1))]
    lasts = positions[np.concatenate((breaks, [len(positions) - 1]))]
    letters = characters[lasts + 1]
    values = _SIMPLE[letters].astype(np.int64)
    ends = lasts + 2
    for letter, count in (("x", 2), ("u", 4), ("U", 8)):
        _resolve_digits(characters, lasts + 2, letters == ord(letter), (count, 16), values, ends)
    octal = (letters >= ord("0")) & (letters <= ord("3"))
    _resolve_digits(characters, lasts + 1, octal, (3, 8), values, ends)
    real = (values >= 0) & (lasts - starts < _LONGEST_RUN)
    return np.column_stack((starts, ends, values))[real]


def _resolve_digits(
    characters: NDArray[np.uint8],
    starts: Indexes,
    chosen: NDArray[np.bool_],
    form: tuple[int, int],
    values: Indexes,
    ends: Indexes,
) -> None:
    """Fill in `values` and `ends` where digits stand at `starts`: as many, and of the base, that `form` says."""
    count, base = form
    where = np.flatnonzero(chosen)
    if not len(where):
        return
    found = _HEX[characters[starts[where, None] + np.arange(count)]].astype(np.int64)
    valid = ((found >= 0) & (found < base)).all(axis=1)
    codes = found @ (base ** np.arange(count)[::-1])
    if count == 4:
        pairs = np.flatnonzero((codes[:-1] & ~0x3FF == 0xD800) & (codes[1:] & ~0x3FF == 0xDC00))
        codes[pairs + 1] += 0x2400 + ((codes[pairs] & 0x3FF) << 10)
        codes[pairs] = _NOTHING
    if count >= 4:
        codes = _narrow(np.minimum(codes, 0x10FFFF))
    values[where] = np.where(valid, codes, values[where])
    ends[where] = np.where(valid, starts[where] + count, ends[where])


def _narrow(codes: Indexes) -> Indexes:
    """Return the values of code points: nothing for an invisible one, and a blank for every kind of space."""
    invisible = np.zeros(len(codes), np.bool_)
    for first, last in _INVISIBLE_RANGES[4:]:  # controls stay: one of them may begin a terminal sequence
        invisible |= (codes >= first) & (codes <= last)
    wide = np.where(np.isin(codes, _SPACES), _SPACE, codes + _WIDE)
    return np.where(invisible, _DELETE, np.where((codes < 0x80) | (codes == _CSI), codes, wide))


def _percents(text: _Text) -> _Escapes:
    characters, starts = text.characters, text.places(b"%")
    high = _HEX[characters[starts + 1]].astype(np.int64)
    low = _HEX[characters[starts + 2]].astype(np.int64)
    real = (high >= 0) & (low >= 0)
    return np.column_stack((starts, starts + 3, high * 16 + low))[real]


def _wide_characters(text: _Text, removed: _Escapes) -> _Escapes:
    """Find invisible characters of two, three and four bytes, blanks, and what looks like ASCII, beside `removed`."""
    characters, starts = text.characters, text.members(_LEADS)
    if not len(starts):
        return _NOTHING_FOUND
    code = characters[starts].astype(np.int64)
    lengths = np.zeros(len(starts), np.int64)
    values = np.full(len(starts), _DELETE)
    for size, (known, meant) in enumerate(_ENCODED, 2):
        # A longer code holds the shorter ones, so it is compared as a number of its own length.
        code = code << 8 | characters[starts + size - 1]
        places = np.minimum(np.searchsorted(known, code), len(known) - 1)
        found = (lengths == 0) & (known[places] == code)
        lengths, values = np.where(found, size, lengths), np.where(found, meant[places], values)
    escapes: _Escapes = np.column_stack((starts, starts + lengths, values))[lengths > 0]
    alike = escapes[:, 2] >= _LOOKALIKE
    if alike.any():
        # A letter only looks like one of ASCII where the rest of its word is spelt in ASCII.
        kinds = np.where(_cover(len(characters), escapes), _NEUTRAL, _WORD_KINDS[characters])
        kinds[_cover(len(characters), removed)] = _NEUTRAL
        words = np.cumsum(kinds == _BREAK)
        latin, other = (np.bincount(words, kinds == kind) > 0 for kind in (_LATIN, _OTHER))
        escapes = escapes[~alike | (latin & ~other)[words[escapes[:, 0]]]]
    escapes[:, 2] &= _LOOKALIKE - 1
    return escapes


def _encode_ranges() -> list[tuple[Indexes, Indexes]]:
    """Return characters of two, three and four bytes of UTF-8, as numbers, and what each is read as."""
    meant = {code: _DELETE for first, last in _INVISIBLE_RANGES for code in range(max(first, 0x80), last + 1)}
    meant |= {int(code): _SPACE for code in _SPACES if code not in {0x2028, 0x2029}}
    for first, last in _STYLED:
        plain = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(first, last)}
        meant |= {code: ord(text) for code, text in plain.items() if len(text) == 1 and text.isascii()}
    for first in (0x1F130, 0x1F150, 0x1F170):
        meant |= {first + number: ord("A") + number for number in range(26)}
    meant |= {ord(alike): _LOOKALIKE | ord(letter) for alike, letter in LOOKALIKES}
    encoded = sorted((chr(code).encode(), value) for code, value in meant.items())
    return [
        (
            np.array([int.from_bytes(raw, "big") for raw, _ in encoded if len(raw) == size], np.int64),
            np.array([value for raw, value in encoded if len(raw) == size], np.int64),
        )
        for size in (2, 3, 4)
    ]


_LOOKALIKE = 0x400
"""Added to the letter of ASCII that a letter of another script looks like."""
_STYLED = ((0x2100, 0x2150), (0x2160, 0x2180), (0x2460, 0x2500), (0xFF01, 0xFF5F), (0x1D400, 0x1D800))
"""Characters that differ from ASCII in style: letter-like, Roman, circled, wide and mathematical ones."""
_ENCODED = _encode_ranges()
_BREAK, _LATIN, _OTHER, _NEUTRAL = range(4)
_WORD_KINDS = np.array(
    [_OTHER if byte > 0x7F else _LATIN if chr(byte).isalpha() else _BREAK for byte in range(256)], np.uint8
)
_FIRST_BYTES = {int(code) >> 8 * (size - 1) for size, (codes, _) in enumerate(_ENCODED, 2) for code in codes}
_LEADS = bytes(byte in _FIRST_BYTES for byte in range(256))
_CONTROL_BYTES = {code for first, last in _INVISIBLE_RANGES[:4] for code in range(first, last + 1)}
_IS_CONTROL = bytes(byte in _CONTROL_BYTES for byte in range(256))


def _references(text: _Text) -> Iterator[_Found]:
    for match in text.find(_REFERENCE):
        if (value := _reference_value(match[0])) is not None:
            yield *match.span(), value


def _points(text: _Text) -> Iterator[_Found]:
    r"""Find `\u{H}`, `\x{H}`, `%uHHHH`, and in style sheets `\HH ` beside another or `\00HHHH`."""
    for match in text.find(*_POINTS):
        value = _point(match[match.lastindex or 1], match.lastgroup)
        yield _before_backslashes(text.raw, match.start()), match.end(), value


def _quoted(text: _Text) -> Iterator[_Found]:
    for match in text.find(_QUOTED):
        if not match["end"] or _ends_long_line(text.raw, match.start()):
            yield *match.span(), _DELETE if match["end"] else int(match[0][1:], 16)


@lru_cache(maxsize=1024)
def _point(digits: bytes, form: str | None) -> int:
    return _narrow_one(int(digits, 10 if form else 16))


@lru_cache(maxsize=1024)
def _reference_value(reference: bytes) -> int | None:
    """Return the value of a character reference, None for a name that no character has."""
    named = html.entities.html5.get(reference[1:].decode("ascii"), "")
    return _narrow_one(ord(named)) if len(named) == 1 else None


def _doubled(text: _Text) -> Iterator[_Found]:
    """Find pairs of quotes that are doubled because they stand inside quotes, as in YAML, SQL and tables."""
    for match in text.find(*_DOUBLED):
        for start in (match.start(), match.end() - 2):
            yield start, start + 2, match[0][0]


def _signs(text: _Text) -> Iterator[_Found]:
    """Find the signs at the starts of the lines of a diff or quotation, also behind an escaped end of a line."""
    if first := _SIGNS[0][0].match(b"\n" + text.raw[:4]):
        yield 0, first.end() - 1, _DELETE
    for match in text.find(*_SIGNS):
        yield match.start() + match[0].index(b"n" if match[0][:1] == b"\\" else b"\n") + 1, match.end(), _DELETE


def _tags(text: _Text) -> Iterator[_Found]:
    """Find the tags around lines of text; each is read as the end of a line."""
    return ((*match.span(), ord("\n")) for match in text.find(_TAG))


def _ends_long_line(raw: bytes, end: int) -> bool:
    """Whether a line of full length ends there, and no padding of base64."""
    line = raw[max(0, end - _LONG_LINE) : end + 1]
    return len(line) > _LONG_LINE and b"\n" not in line and not line.endswith(b"==")


def _narrow_one(code: int) -> int:
    return int(_narrow(np.array([min(code, 0x10FFFF)]))[0])


def _controls(text: _Text) -> Iterator[_Found]:
    bare = len(text.places(b"[0m")) or len(text.places(b"[39m"))
    for match in text.find(*_CONTROLS, *(_BARE_COLOUR,) * bool(bare)):
        yield _before_backslashes(text.raw, match.start()), match.end(), _DELETE


def _numbers(text: _Text) -> Iterator[_Found]:
    """Find the numbers of lines, by the digit before what ends them."""
    ends = np.concatenate((text.places(b"\t"), text.places(b"\xe2\x86\x92")))
    for end in ends[byte_table(_DIGITS)[text.characters[ends - 1]]].tolist():
        start = text.raw.rfind(b"\n", max(0, end - _LONGEST_NUMBER), end)
        if start >= 0 and (match := _NUMBER.match(text.raw, start)):
            yield start + 1, match.end(), _DELETE


def _before_backslashes(raw: bytes, start: int) -> int:
    """Return where the run of backslashes begins that a match begins with, as JSON inside JSON has them."""
    while raw[start : start + 1] == b"\\" and raw[start - 1 : start] == b"\\":
        start -= 1
    return start


def _from_matches(matches: Iterable[_Found]) -> _Escapes:
    return np.array(list(matches), np.int64).reshape(-1, 3)


_NOTHING_FOUND = _from_matches(())


def resolve_value(raw: bytes) -> bytes:
    """Return a short value with all escapes resolved exactly, so that equal values get equal pseudonyms.

    >>> resolve_value(b"jos%C3%A9").decode()
    'josé'
    """
    text = raw.decode("utf-8", "replace")
    for _ in range(4):
        plain = html.unescape(_EXACT.sub(_exact, text))
        if plain == text:
            break
        text = plain
    return text.encode("utf-8", "replace")


_EXACT = re.compile(r"\\+u([0-9a-fA-F]{4})|(?:%[0-9a-fA-F]{2})+|\\+x([0-9a-fA-F]{2})|\\+([\"'/`\\])")


def _exact(match: re.Match[str]) -> str:
    if match[1] or match[2]:
        return chr(int(match[1] or match[2], 16))
    if match[3]:
        return "" if match[3] == "\\" else match[3]
    return bytes.fromhex(match[0].replace("%", "")).decode("utf-8", "replace")
