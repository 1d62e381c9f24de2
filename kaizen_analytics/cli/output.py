"""Printing: JSON documents, and tables that are rich on a terminal and plain text in a pipe."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def print_json(document: object) -> None:
    """Print one JSON document; numbers that JSON lacks are an error, never `NaN`."""
    print(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under their column names; numbers align right, missing values read as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(columns))]
    if sys.stdout.isatty():
        _print_rich(columns, cells, numeric, title)
    else:
        _print_plain(columns, cells, numeric, title)


def clean(text: str) -> str:
    """Return `text` without control characters, which could rewrite the reader's terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else clean(str(value))


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("+-\N{MINUS SIGN}").replace(",", "").replace(".", "").isdigit()


def _print_rich(columns: Sequence[str], cells: list[list[str]], numeric: list[bool], title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", header_style="bold")
    for name, right in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _print_plain(columns: Sequence[str], cells: list[list[str]], numeric: list[bool], title: str | None) -> None:
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    if title:
        print(title)
    for row in [list(columns), *cells]:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(padded).rstrip())
