"""Printing: JSON documents, and tables that fit the terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Self, TextIO

from kaizen_analytics.core.words import clean as clean  # noqa: PLC0414 - handed on to the commands
from kaizen_analytics.core.words import escape_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kaizen_analytics.pages.blocks import Block

_GAP = 2
_TIME = re.compile(r"\d{4}-\d\d-\d\d")
_WHOLE = frozenset({"id", "run", "session", "fingerprint", "model"})
"""Columns whose texts are given to another command as they are, and so are never shortened."""
_SHORTEST_TEXT = 12
"""A column of text is shortened to no less than this, so that its beginning and end can still be told apart."""


class Bar:
    """A progress bar on a terminal; nothing elsewhere, where the summary is enough.

    >>> with Bar("Reading") as bar:
    ...     bar.show(1, 2)
    """

    def __init__(self, label: str, *, unit: str = "", scale: float = 1) -> None:
        self._label = label
        self._unit = f" {unit}" if unit else ""
        self._scale = scale
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, done: int, total: int, /) -> None:
        """Draw how far the run is."""
        if not sys.stderr.isatty() or not total or is_quiet():
            return
        self._shown = True
        filled = round(30 * done / total)
        bar = "#" * filled + "." * (30 - filled)
        size = f"{done / self._scale:,.0f} of {total / self._scale:,.0f}{self._unit}"
        print(f"\r{self._label} [{bar}] {size}", end="", file=sys.stderr, flush=True)


def print_json(document: object) -> None:
    """Print one JSON document; numbers that JSON lacks are an error, never `NaN`.

    >>> print_json({"sessions": 2})
    {
      "sessions": 2
    }
    """
    print(json_text(document, indent=2))


def json_text(document: object, *, indent: int | None = None) -> str:
    """Return a JSON document that standard output can take: in ASCII where it is not UTF-8.

    >>> json_text({"a": 1})
    '{"a": 1}'
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return escape_json(json.dumps(document, ensure_ascii=encoding != "utf8", indent=indent, allow_nan=False))


def without_quiet(arguments: list[str]) -> list[str]:
    """Return arguments without `--quiet`, which is the same before and after a command; what follows `--` is not ours.

    >>> without_quiet(["run", "--quiet", "id", "--", "claude", "--quiet"])
    ['run', 'id', '--', 'claude', '--quiet']
    """
    ours = list(takewhile("--".__ne__, arguments))
    return [argument for argument in ours if argument != "--quiet"] + arguments[len(ours) :]


def is_quiet() -> bool:
    """Return whether the command line asks for results, warnings and errors only.

    >>> is_quiet()
    False
    """
    return without_quiet(sys.argv) != sys.argv


def has_colour() -> bool:
    """Return whether standard output is a terminal that may be given colours.

    >>> has_colour()
    False
    """
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def terminal_width() -> int | None:
    """Return how many columns the terminal has, or `COLUMNS` says; None for a pipe.

    >>> terminal_width() is None or terminal_width() > 0
    True
    """
    return shutil.get_terminal_size((0, 0)).columns or None


NO_SESSION = "No session. If you expected some, read them with 'kaizen-analytics ingest', or choose fewer filters."
"""What commands say that found no session to show."""


def print_note(text: str, *, indent: str = "", file: TextIO | None = None) -> None:
    """Print a sentence on as many lines as the terminal needs; a path or an id stays in one piece.

    >>> print_note("All is well.")
    All is well.
    """
    width = terminal_width() or sys.maxsize
    for line in clean(text).split("\n"):
        parts = textwrap.wrap(
            indent + line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
        print("\n".join(parts), file=file)


def print_next(command: str) -> None:
    """Print the command that follows, in one line, so that it can be copied; nothing with --quiet.

    >>> print_next("kaizen-analytics ingest")
    Next: kaizen-analytics ingest
    """
    if not is_quiet():
        print(clean(f"Next: {command}"))


def print_unreliable(unreliable: int, responses: int | None = None, *, who: str = "") -> None:
    """Say how many responses have an output count that is too low, as a share where all are known; nothing for none.

    >>> print_unreliable(9, 10, who="codex: ")
    codex: 90% of the responses have an output count that is too low, because the agent never completed it.
    """
    if unreliable:
        many = f"{unreliable:,}" if responses is None else f"{100 * unreliable / responses:.0f}% of the"
        print_note(f"{who}{many} responses have an output count that is too low, because the agent never completed it.")


def print_lines(*lines: str, then: str = "") -> None:
    """Print what a command has done, and the command that follows.

    >>> print_lines("Declined f1.", then="kaizen-analytics retro")
    Declined f1.
    Next: kaizen-analytics retro
    """
    print_note("\n".join(lines))
    if then:
        print_next(then)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    droppable: Sequence[str] = (),
    wrapped: str | None = None,
    total: Sequence[object] | None = None,
    empty: str = "",
) -> None:
    """Print rows under their column names; numbers align right, missing values read as a dash.

    On a terminal, and where `COLUMNS` is set, the table fits the width: first `droppable` columns go, in that order,
    then the texts of `wrapped` continue on the next lines, or the widest texts are shortened (a path keeps its end,
    another text its beginning), and then the last columns go. A line names the columns that went. Numbers and ids are
    never broken. A pipe gets everything.

    Args:
        columns: The names above the columns.
        rows: The values, in the order of the columns.
        title: A line above the table.
        droppable: Columns that a narrow terminal does without, the least important first.
        wrapped: The column whose long texts continue on the next lines.
        total: Values of a last row below a rule.
        empty: What to say instead of a table without rows.

    >>> print_table(["model", "tokens"], [["opus", 1200], ["haiku", None]], total=["Total", 1200])
    model  tokens
    opus    1,200
    haiku       -
    -----  ------
    Total   1,200
    """
    cells = [[_cell(value) for value in row] for row in rows]
    last = [] if total is None else [[_cell(value) for value in total]]
    table = {name: [row[i] for row in cells + last] for i, name in enumerate(columns)}
    dropped = _fit(table, droppable, wrapped)
    if title:
        print(title)
    if empty and not cells:
        print_note(empty)
        return
    _print_columns(table, ruled=total is not None)
    if dropped and not is_quiet():
        print_note(f"Not shown at this width: {', '.join(dropped)}.")


def print_page(block: Block) -> None:
    """Print the plain form of a page: as it is into a pipe; on a terminal, sentences and tables fit the width.

    >>> from kaizen_analytics.pages.blocks import paragraph
    >>> print_page(paragraph("All is well."))
    All is well.
    """
    for number, part in enumerate(block.parts):
        if number:
            print()
        if isinstance(part, str):
            print_note(part)
            continue
        if part.caption:
            print_note(part.caption)
        header, *rows = part.lines
        text, width = str(replace(part, caption="")), terminal_width()
        if width is None or max(map(len, text.split("\n"))) <= width:
            print(text)
        else:
            widest = max(header, key=lambda name: max((len(row[header.index(name)]) for row in rows), default=0))
            print_table(header, rows, wrapped=widest)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else clean(str(value))


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.strip("+-\N{MINUS SIGN}$% ").replace(",", "").replace(".", "").isdigit()


def _width(name: str, cells: Sequence[str]) -> int:
    return max(len(text) for text in [name, *cells])


def _fit(table: dict[str, list[str]], droppable: Sequence[str], wrapped: str | None) -> list[str]:
    """Make a table as narrow as the terminal, and return the names of the columns that it lost."""
    available = terminal_width()
    if available is None:
        return []
    before = list(table)

    def excess() -> int:
        return sum(needed(name, cells) + _GAP for name, cells in table.items()) - _GAP - available

    def needed(name: str, cells: Sequence[str]) -> int:
        return min(_width(name, cells), max(_SHORTEST_TEXT, len(name)) if name == wrapped else sys.maxsize)

    for name in droppable:
        if excess() > 0:
            table.pop(name, None)
    while excess() > 0:
        texts = {  # numbers, times and ids must not be shortened
            name: _width(name, cells)
            for name, cells in table.items()
            if name not in _WHOLE | {wrapped} and not all(_is_number(cell) or _TIME.match(cell) for cell in cells)
        }
        name = max(texts, key=texts.__getitem__, default="")
        shorter = max(_SHORTEST_TEXT, len(name), texts.get(name, 0) - excess())
        if texts and shorter < texts[name]:
            table[name] = [_shorten(cell, shorter) for cell in table[name]]
            continue
        last = next((name for name in [*table][:0:-1] if name not in _WHOLE), None)
        if last is None:
            break
        del table[last]
    if wrapped in table:
        _wrap(table, wrapped, needed(wrapped, table[wrapped]) - min(excess(), 0))
    return [name for name in before if name not in table]


def _wrap(table: dict[str, list[str]], name: str, width: int) -> None:
    parts = [textwrap.wrap(cell, width) or [""] for cell in table[name]]
    for other, cells in table.items():
        if other != name:
            table[other] = [
                text for cell, lines in zip(cells, parts, strict=True) for text in [cell, *[""] * (len(lines) - 1)]
            ]
    table[name] = [line for lines in parts for line in lines]


def _shorten(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    return f"…{text[1 - width :]}" if "/" in text else f"{text[: width - 1]}…"


def _print_columns(table: dict[str, list[str]], *, ruled: bool) -> None:
    columns = []
    for name, cells in table.items():
        written = [cell for cell in cells if cell]  # a row that continues has empty ones
        pad = str.rjust if written and all(map(_is_number, written)) else str.ljust
        columns.append([pad(text, _width(name, cells)) for text in (name, *cells)])
    header, *lines = [(" " * _GAP).join(row).rstrip() for row in zip(*columns, strict=True)]
    if ruled:
        lines.insert(-1, (" " * _GAP).join("-" * len(column[0]) for column in columns))
    print(f"\x1b[1m{header}\x1b[0m" if has_colour() else header, *lines, sep="\n")
