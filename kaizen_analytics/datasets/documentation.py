"""The tables of columns in docs/exports.md, written from the catalogue.

python -m kaizen_analytics.datasets.documentation docs/exports.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.errors import ConfigError
from kaizen_analytics.redact.projection import ColumnKind

if TYPE_CHECKING:
    from kaizen_analytics.datasets.fields import Dataset, Field

BEGIN = "<!-- begin columns: written by python -m kaizen_analytics.datasets.documentation -->"
END = "<!-- end columns -->"

_SHOWN_WORDS = 12
_HOLDS = {
    ColumnKind.COUNT: "whole number from 0",
    ColumnKind.MEASURE: "number",
    ColumnKind.FLAG: "true or false",
    ColumnKind.WORD: "listed word, or a stand-in",
    ColumnKind.HOUR: "text, as `2026-01-31T13`",
    ColumnKind.DAY: "text, as `2026-01-31`",
    ColumnKind.ID: "stand-in, 20 hex digits",
    ColumnKind.TEXT: "redacted text",
}


def render_datasets() -> str:
    """Return every table as Markdown: what a row is, and its columns."""
    return "\n\n".join(_render(make()) for make in DATASETS.values())


def write_datasets(file: Path) -> None:
    """Replace what stands between the markers of `file`.

    Raises:
        ConfigError: the file lacks a marker.
    """
    before, begin, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{file} lacks the line {BEGIN!r} or {END!r}; add both where the tables belong.")
    file.write_text(f"{before}{BEGIN}\n\n{render_datasets()}\n\n{END}{after}", encoding="utf-8")


def _render(dataset: Dataset) -> str:
    lines = [
        f"### `{dataset.label}`",
        "",
        f"A row is {dataset.grain}; told apart by {', '.join(f'`{name}`' for name in dataset.row_id)}.",
        "",
        "| column | type | holds | unit | meaning | null when |",
        "|---|---|---|---|---|---|",
        *(_row(field) for field in dataset.fields),
    ]
    return "\n".join(lines)


def _row(field: Field) -> str:
    cells = (f"`{field.name}`", str(field.dtype), _holds(field), field.unit, field.meaning, field.null)
    return f"| {' | '.join(cells)} |"


def _holds(field: Field) -> str:
    if field.kind is not ColumnKind.CHOICE:
        return _HOLDS[field.kind]
    words = sorted(field.choices)
    listed = ", ".join(words) if len(words) <= _SHOWN_WORDS else f"{len(words)} listed words"
    return f"one of {listed}; else other"


if __name__ == "__main__":
    write_datasets(Path(sys.argv[1]))
