"""Cells whose value does not have its column's type.

SQLite lets any value into any column, and Rust's or Python's text checks are not its own. DuckDB gives up a scan at
the first such cell, without naming the table; this finds them. `parse_json` does the same for cells of ours.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.store.connection import Store

_TABLES = ("experiments", "experiment_tags", "sessions", "files_touched", "skills_used", "rules_used", "events")


@dataclass(frozen=True, slots=True)
class BadCell:
    """One value that is not of the declared type, or text that is not UTF-8; `row_id` is SQLite's rowid."""

    table: str
    column: str
    row_id: int


def find_bad_cells(store: Store) -> Iterator[BadCell]:
    """Yield the first bad cell of each row of the tables shared with kaizen-cli, small tables first."""
    for table in _TABLES:
        columns = {
            str(name): str(kind) for name, kind in store.native("select name, type from pragma_table_info(?)", table)
        }
        if columns:
            yield from _scan(store, table, columns)


def _scan(store: Store, table: str, columns: dict[str, str]) -> Iterator[BadCell]:
    from kaizen_analytics.store.connection import quote_name, quote_text

    kinds = [(column, "integer" if "INT" in kind.upper() else "text") for column, kind in columns.items()]
    texts = [column for column, kind in kinds if kind == "text"]
    wrong_type = " ".join(
        f"when typeof({quote_name(column)}) not in ('{kind}', 'null') then {quote_text(column)}"
        for column, kind in kinds
    )
    not_utf8 = " ".join(
        f"when {quote_name(column)} is not null and try(decode(encode({quote_name(column)}))) is null "
        f"then {quote_text(column)}"
        for column in texts
    )
    listed = "".join(f", {quote_name(column)}" for column in texts)
    inner = f"select rowid as ka_row_id, case {wrong_type} end as ka_bad{listed} from {quote_name(table)}"
    found = store.read(
        f"select * from (select ka_row_id::bigint as row_id, coalesce(ka_bad, case {not_utf8} end) as bad "
        "from sqlite_query('k', $inner)) where bad is not null limit 100",
        {"inner": inner},
    )
    for row_id, column in found.iter_rows():
        yield BadCell(table, column, row_id)


def parse_json(text: str | None, table: str, key: str) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON of a cell that only this package writes.

    Raises:
        StoreError: the cell holds no JSON, or JSON nested so deep that nobody wrote it for us.
    """
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{table} of {key!r} holds no JSON that can be read: {error}. Another program changed it; restore the "
            "store from a backup, or delete that row.",
        ) from error
