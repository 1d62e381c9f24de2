"""Views of a text with one layer of escaping taken off, and the way back to the original bytes.

A secret inside JSON inside JSON, a URL or an HTML attribute is not spelled as its rule expects. `unescape` removes
one layer at once: backslash escapes (with any number of backslashes, so nested JSON falls in one step), `%XX` (with
`+` for a space beside it) and character references. `remove_invisible` drops terminal colours and zero-width
characters. The view may lose non-ASCII characters: it is
only searched, never written out.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indexes = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_LONGEST_RUN = 64
"""Backslashes in a row that still count as one escape; JSON nested six times needs 63."""
_DELETE = 0x100
_SPACE = 0x20
_LETTER = 0xFF


def _table(pairs: dict[str, int], default: int = -1) -> NDArray[np.int16]:
    table = np.full(256, default, np.int16)
    for character, value in pairs.items():
        table[ord(character)] = value
    return table


_SIMPLE = _table({"n": 10, "r": 13, "t": 9, '"': 34, "'": 39, "/": 47, "`": 96})
_HEX = _table({c: int(c, 16) for c in "0123456789abcdefABCDEF"})
_REFERENCE = re.compile(
    rb"&(?:quot|amp|lt|gt|apos|nbsp|sol|colon|equals|lowbar|commat|period|hyphen|plus|num|dollar|percnt"
    rb"|#[0-9]{1,5}|#[xX][0-9a-fA-F]{1,5});"
)
_COLOUR = rb"\[[0-9;:?]{0,24}[A-Za-z]"
_CONTROLS = {
    # One pattern for each literal start: a literal prefix is searched ten times as fast as an alternation.
    b"\x1b[": re.compile(rb"\x1b" + _COLOUR),
    b"\\033": re.compile(rb"\\033" + _COLOUR),
    b"\\e[": re.compile(rb"\\e" + _COLOUR),
    b"\x1b]": re.compile(rb"\x1b\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)"),
}


_BREAKS = np.zeros(256, np.bool_)
_BREAKS[list(b" \t\r\n\"'<>\0")] = True


@dataclass(frozen=True, slots=True)
class Escapes:
    """Escape sequences of a text in order: half-open ranges, and the byte each stands for (256: nothing)."""

    starts: Indexes
    ends: Indexes
    values: Indexes


@dataclass(frozen=True, slots=True)
class OffsetMap:
    """From positions in a view to positions in the text that it was made of, and back."""

    positions: Indexes
    """Where each escape stands in the view, ascending."""
    removed: Indexes
    """Bytes removed before the i-th escape; one entry more than `positions`."""
    raw_starts: Indexes
    raw_ends: Indexes

    def to_raw(self, position: int) -> int:
        """Return the original offset of a boundary before `position`; never inside an escape."""
        return position + int(self.removed[self.positions.searchsorted(position)])

    def tears(self, raw_position: int) -> bool:
        r"""Whether an original position lies inside an escape, as the address in `\njane@…` if read from the `n`."""
        index = int(np.searchsorted(self.raw_starts, raw_position, side="left")) - 1
        return index >= 0 and raw_position < int(self.raw_ends[index])

    def is_plain(self, positions: Indexes, before: int, after: int) -> NDArray[np.bool_]:
        """Whether no escape stood from `before` bytes ahead of each position to `after` bytes behind it."""
        first = np.searchsorted(self.positions, positions - before, side="left")
        last: Indexes = np.searchsorted(self.positions, positions + after, side="right")
        return np.equal(first, last)

    def to_view(self, raw_positions: Indexes) -> Indexes:
        """Return where original offsets that do not lie inside an escape stand in the view."""
        return raw_positions - self.removed[np.searchsorted(self.raw_starts, raw_positions, side="left")]


def unescape(raw: bytes) -> tuple[bytes, OffsetMap] | None:
    """Return the text with one layer of escapes removed and its offset map, or None when it holds no escape."""
    characters = np.frombuffer(raw + b"\0" * 8, np.uint8)
    percents = _percents(characters)
    escapes = _in_order([_backslashes(characters), percents, _from_matches(_references(raw))])
    view = np.frombuffer(raw, np.uint8).copy()
    if b"+" in raw and len(percents.starts):
        view[_form_spaces(characters, percents.starts)] = _SPACE
    return _apply(view, escapes)


def remove_invisible(raw: bytes) -> tuple[bytes, OffsetMap] | None:
    """Return the text without terminal colours and zero-width characters, or None when it holds none."""
    characters = np.frombuffer(raw + b"\0" * 8, np.uint8)
    wide = _none() if raw.isascii() else _zero_widths(characters)
    escapes = _in_order([wide, _from_matches(_controls(raw))])
    return _apply(np.frombuffer(raw, np.uint8).copy(), escapes)


def _apply(view: Bytes, escapes: Escapes) -> tuple[bytes, OffsetMap] | None:
    """Put the value of each escape at its last byte and drop the bytes before it."""
    if not len(escapes.starts):
        return None
    kept = np.ones(len(view), np.bool_)
    lengths = escapes.ends - escapes.starts
    inside, left = escapes.starts, lengths
    while len(inside):
        kept[inside] = False
        longer = left > 1
        inside, left = inside[longer] + 1, left[longer] - 1
    shown = escapes.values < _DELETE
    last = escapes.ends[shown] - 1
    kept[last] = True
    view[last] = escapes.values[shown]
    removed = np.concatenate(([0], np.cumsum(lengths - shown)))
    return view[kept].tobytes(), OffsetMap(escapes.starts - removed[:-1], removed, escapes.starts, escapes.ends)


def _form_spaces(characters: Bytes, percents: Indexes) -> Indexes:
    """Return the `+` that mean a space: those in a word that also holds `%XX`."""
    breaks = np.flatnonzero(_BREAKS[characters])
    pluses = np.flatnonzero(characters == ord("+"))
    encoded = np.searchsorted(breaks, percents)
    return pluses[np.isin(np.searchsorted(breaks, pluses), encoded)]


def _in_order(found: list[Escapes]) -> Escapes:
    """Sort and drop any escape that begins inside its predecessor (a backslash before a colour code)."""
    starts = np.concatenate([part.starts for part in found])
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    ends = np.concatenate([part.ends for part in found])[order]
    values = np.concatenate([part.values for part in found])[order]
    clear = np.ones(len(starts), np.bool_)
    clear[1:] = starts[1:] >= np.maximum.accumulate(ends)[:-1]
    return Escapes(starts[clear], ends[clear], values[clear])


def _backslashes(characters: Bytes) -> Escapes:
    r"""Find `\n`, `\"`, `\/`, `\xHH` and `\uHHHH` behind any run of backslashes."""
    positions = np.flatnonzero(characters == ord("\\"))
    if not len(positions):
        return _none()
    breaks = np.flatnonzero(np.diff(positions) != 1)
    starts = positions[np.concatenate(([0], breaks + 1))]
    lasts = positions[np.concatenate((breaks, [len(positions) - 1]))]
    letters = characters[lasts + 1]
    values = _SIMPLE[letters].astype(np.int64)
    ends = lasts + 2
    _resolve_hex(characters, lasts, letters == ord("x"), 2, values, ends)
    _resolve_hex(characters, lasts, letters == ord("u"), 4, values, ends)
    real = (values >= 0) & (lasts - starts < _LONGEST_RUN)
    return Escapes(starts[real], ends[real], values[real])


def _resolve_hex(
    characters: Bytes,
    lasts: Indexes,
    chosen: NDArray[np.bool_],
    digits: int,
    values: Indexes,
    ends: Indexes,
) -> None:
    """Fill in `values` and `ends` where `digits` hex digits follow the escape letter."""
    where = np.flatnonzero(chosen)
    if not len(where):
        return
    nibbles = _HEX[characters[lasts[where, None] + 2 + np.arange(digits)]].astype(np.int64)
    valid = (nibbles >= 0).all(axis=1)
    codes = nibbles @ (16 ** np.arange(digits)[::-1])
    values[where] = np.where(valid, codes if digits == 2 else _narrow(codes), -1)
    ends[where] = lasts[where] + 2 + digits


def _narrow(codes: Indexes) -> Indexes:
    """One byte for a code point: itself if ASCII, nothing if invisible, else a stand-in letter or space."""
    invisible = ((codes >= 0x200B) & (codes <= 0x200F)) | np.isin(codes, [0x2060, 0xFEFF, 0x00AD])
    wide = np.where(codes < 0x2000, _LETTER, _SPACE)
    return np.where(invisible, _DELETE, np.where(codes < 0x80, codes, wide))


def _percents(characters: Bytes) -> Escapes:
    starts = np.flatnonzero(characters == ord("%"))
    high = _HEX[characters[starts + 1]].astype(np.int64)
    low = _HEX[characters[starts + 2]].astype(np.int64)
    real = (high >= 0) & (low >= 0)
    starts = starts[real]
    return Escapes(starts, starts + 3, high[real] * 16 + low[real])


def _zero_widths(characters: Bytes) -> Escapes:
    """Find U+200B to U+200F, U+202A to U+202E, U+2060 to U+2064 and U+FEFF: three bytes each."""
    starts = np.flatnonzero((characters == 0xE2) | (characters == 0xEF))
    second, third = characters[starts + 1], characters[starts + 2]
    general = (second == 0x80) & (((third >= 0x8B) & (third <= 0x8F)) | ((third >= 0xAA) & (third <= 0xAE)))
    joiner = (second == 0x81) & (third >= 0xA0) & (third <= 0xA4)
    mark = (second == 0xBB) & (third == 0xBF)
    starts = starts[np.where(characters[starts] == 0xE2, general | joiner, mark)]
    return Escapes(starts, starts + 3, np.full(len(starts), _DELETE))


def _references(raw: bytes) -> list[tuple[int, int, int]]:
    if b"&" not in raw:
        return []
    return [(*match.span(), _reference_value(match[0])) for match in _REFERENCE.finditer(raw)]


@lru_cache(maxsize=1024)
def _reference_value(reference: bytes) -> int:
    return int(_narrow(np.array([ord(html.unescape(reference.decode("ascii"))[0])]))[0])


def _controls(raw: bytes) -> list[tuple[int, int, int]]:
    return [
        (*match.span(), _DELETE)
        for start, pattern in _CONTROLS.items()
        if start in raw
        for match in pattern.finditer(raw)
    ]


def _from_matches(matches: list[tuple[int, int, int]]) -> Escapes:
    if not matches:
        return _none()
    table = np.array(matches, np.int64)
    return Escapes(table[:, 0], table[:, 1], table[:, 2])


def _none() -> Escapes:
    empty = np.empty(0, np.int64)
    return Escapes(empty, empty, empty)


def resolve_value(raw: bytes) -> bytes:
    """Return a short value with all escapes resolved exactly, so that equal values get equal pseudonyms."""
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


def chain_to_raw(maps: tuple[OffsetMap, ...], start: int, end: int) -> tuple[int, int]:
    """Map a range of the innermost view through `maps` (innermost first) to the original text."""
    for step in maps:
        start, end = step.to_raw(start), step.to_raw(end)
    return start, end
