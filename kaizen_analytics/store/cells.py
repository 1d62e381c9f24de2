"""Cells whose value does not have its column's type.

SQLite lets any value into any column, and Rust's or Python's text checks are not its own. DuckDB gives up a scan at
the first such cell, without naming the table; this finds them. Text that is not UTF-8 is replaced, a value of another
type is an error. `parse_json` does the same for cells of ours.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.store.sql import ATTACHED, quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

    from kaizen_analytics.store.sql import TableReader

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


@dataclass(frozen=True, slots=True)
class BadCell:
    """One value that is not of the declared type, or (`is_text`) not UTF-8; `row_id` is SQLite's rowid."""

    table: str
    column: str
    row_id: int
    is_text: bool = False


def find_bad_cells(store: TableReader) -> Iterator[BadCell]:
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


def _scan(store: TableReader, table: str, columns: dict[str, str]) -> Iterator[BadCell]:
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


def parse_json(text: str | None, table: str, key: str) -> dict[str, Any]:
    """Return the JSON object of a cell that only this package writes.

    Raises:
        StoreError: the cell holds no JSON object, or JSON nested so deep that nobody wrote it for us.

    >>> parse_json('{"unit": "day"}', "ka_plans", "e1")
    {'unit': 'day'}
    """
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise damaged(table, key, f"no JSON that can be read: {error}") from error
    if not isinstance(found, dict):
        raise damaged(table, key, f"JSON that is no object but {text!r:.40}")
    return found


def damaged(table: str, key: str, found: str) -> StoreError:
    """Return the error of a row of ours that another program changed.

    >>> str(damaged("ka_plans", "e1", "no JSON"))
    "ka_plans of 'e1' holds no JSON. Another program changed it; restore the store from a backup, or delete that row."
    """
    return StoreError(
        f"{table} of {key!r} holds {found}. Another program changed it; restore the store from a backup, or delete "
        "that row."
    )
