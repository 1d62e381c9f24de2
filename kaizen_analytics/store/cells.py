"""Cells that spoil a scan: text that is not UTF-8, and values that do not have their column's type.

SQLite lets any value into any column, and Rust's or Python's text checks are not its own. DuckDB gives up a scan at
the first such cell, without naming the table; `find_bad_cells` finds them. Text that is not UTF-8 is replaced, a value
of another type is an error. `sql.parse_json` does the same for cells of ours.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kaizen_analytics.store.sql import ATTACHED, quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import duckdb
    import polars as pl

    from kaizen_analytics.store.sql import Parameter, Row


class _TableReader(Protocol):
    """What answers a native SQLite statement with rows of text, and a DuckDB `select` with a frame."""

    def native(self, sql: str, *parameters: Parameter) -> list[Row]:
        """Return the rows of one statement, every value as text."""

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return the rows of one `select`."""


_TYPES = {"INTEGER": "integer", "REAL": "real"}
_TABLES = """
    select name from sqlite_master where type = 'table' and sql not like '%without rowid%' and name not like 'sqlite_%'
    order by name in ('sessions', 'events'), name
"""
_VALID = (
    "[0-7].|(?:C[2-9A-F]|D.)[89AB].|E0[AB].[89AB].|ED[89].[89AB].|E[1-9A-CEF][89AB].[89AB]."
    "|F0[9AB].[89AB].[89AB].|F[1-3][89AB].[89AB].[89AB].|F48.[89AB].[89AB]."
)
"""The sequences of UTF-8 in hex."""
# One replacement marks every sequence with XYZ and every other byte with XY and Z around it; two more use the marks.
_REPLACING = rf"""
    case when x is null or try(decode(encode(x))) is not null then x else decode(unhex(replace(regexp_replace(
        regexp_replace(hex(encode(x)), '((?:{_VALID})+)|(..)', '\1XY\2Z', 'g'), 'XY(..)Z', 'EFBFBD', 'g'), 'XYZ', '')))
    end
"""


_MOST = 100
"""How many bad cells of a table are looked for."""


class BadCell(NamedTuple):
    """One value that is not of the declared type, or (`is_text`) not UTF-8; `row_id` is SQLite's rowid."""

    table: str
    column: str
    row_id: int
    is_text: bool = False


def find_bad_cells(store: _TableReader) -> Iterator[BadCell]:
    """Yield the first bad cell of each row, at most `_MOST` of a table, small tables first.

    >>> list(find_bad_cells(store))
    []
    """
    for (table,) in store.native(_TABLES):
        if table is None:
            continue
        rows = store.native("select name, type from pragma_table_info(?)", table)
        yield from _scan(store, table, {str(name): str(kind) for name, kind in rows})


def count_cells(found: Iterable[BadCell]) -> str:
    """Return how many cells were found, by column; where the search of a table ended early it says so.

    >>> count_cells([BadCell("events", "payload", 2, is_text=True)])
    '1 of events.payload'
    """
    counts = Counter(f"{cell.table}.{cell.column}" for cell in found)
    return ", ".join(
        f"{'at least ' if number >= _MOST else ''}{number} of {column}" for column, number in counts.items()
    )


def define_replacing(connection: duckdb.DuckDBPyConnection, replaced: Iterable[BadCell]) -> None:
    """Let the macro `ka_text`, and the tables that hold such cells, give text with U+FFFD for what is not UTF-8.

    >>> import duckdb
    >>> define_replacing(duckdb.connect(), [])
    """
    columns: dict[str, set[str]] = {}
    for cell in replaced:
        columns.setdefault(cell.table, set()).add(quote_name(cell.column))
    if columns:
        connection.execute(f"create or replace temp macro ka_text(x) as {_REPLACING}")
    for table, names in columns.items():
        clean = ", ".join(f"ka_text({name}) as {name}" for name in sorted(names))
        source = f"{ATTACHED}.{quote_name(table)}"
        connection.execute(f"create temp view {quote_name(table)} as select * replace ({clean}) from {source}")


def _scan(store: _TableReader, table: str, columns: dict[str, str]) -> Iterator[BadCell]:
    kinds = [(column, _TYPES.get(kind.upper(), "text")) for column, kind in columns.items()]
    texts = [column for column, kind in kinds if kind == "text"]
    wrong_type = " ".join(
        f"when typeof({quote_name(column)}) not in ('{kind}', 'null') then {quote_text(column)}"
        for column, kind in kinds
    )
    not_utf8 = "when false then null " + " ".join(
        f"when {quote_name(column)} is not null and try(decode(encode({quote_name(column)}))) is null "
        f"then {quote_text(column)}"
        for column in texts
    )
    listed = "".join(f", {quote_name(column)}" for column in texts)
    inner = f"select rowid as ka_row_id, case {wrong_type} end as ka_bad{listed} from {quote_name(table)}"
    found = store.read(
        f"select * from (select ka_row_id::bigint as row_id, coalesce(ka_bad, case {not_utf8} end) as bad, "
        "ka_bad is null as is_text "
        f"from sqlite_query('k', $inner)) where bad is not null limit {_MOST}",
        {"inner": inner},
    )
    for row_id, column, is_text in found.iter_rows():
        yield BadCell(table, column, row_id, is_text)
