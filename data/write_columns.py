"""Write the tables of docs/reference/columns.md from their declarations: `python data/write_columns.py`."""

from __future__ import annotations

from pathlib import Path

from kaizen_analytics.exports.columns import LAKE_TABLES, TABLES, Column, ColumnKind, Table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "columns.md"
BEGIN, END = "<!-- begin columns: written by python data/write_columns.py -->", "<!-- end columns -->"
SHOWN_WORDS = 12
HOLDS = {
    ColumnKind.COUNT: "whole number from 0",
    ColumnKind.MEASURE: "number",
    ColumnKind.FLAG: "true or false",
    ColumnKind.MOMENT: "milliseconds since 1970",
    ColumnKind.HOUR: "text, as `2026-01-31T13`",
    ColumnKind.DAY: "text, as `2026-01-31`",
    ColumnKind.WORD: "listed word, else a pseudonym",
    ColumnKind.PSEUDONYM: "pseudonym, 10 hex digits",
    ColumnKind.ID: "pseudonym, 20 hex digits",
    ColumnKind.FOLDER: "path with a pseudonym for each part",
    ColumnKind.TEXT: "redacted text",
}


def render_columns() -> str:
    """Return every table as Markdown: what a row is, and its columns."""
    return "\n\n".join(render(table) for table in (*(make() for make in TABLES.values()), *LAKE_TABLES.values()))


def render(table: Table) -> str:
    lines = [
        f"### `{table.label}`",
        "",
        f"A row is {table.grain}. Key: {', '.join(f'`{name}`' for name in table.key)}.",
        "",
        "| column | type | holds | unit | meaning | null when |",
        "|---|---|---|---|---|---|",
    ]
    for one in table.columns:
        cells = (f"`{one.name}`", str(one.dtype), describe(one), one.unit, one.meaning, one.null)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def describe(column: Column) -> str:
    if column.kind is not ColumnKind.CHOICE:
        return "pseudonym" if column.kind is ColumnKind.WORD and not column.words else HOLDS[column.kind]
    words = sorted(column.words)
    listed = ", ".join(words) if len(words) <= SHOWN_WORDS else f"{len(words)} listed words"
    return f"one of {listed}; else other"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{render_columns()}\n\n{END}{after}", encoding="utf-8")
