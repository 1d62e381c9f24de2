"""SQL texts: quoting, lists as JSON, native SQLite statements with their parameters, and cells that spoil a scan.

DuckDB runs a statement as native SQLite through `sqlite_query`. Parameters are written as literals: binding even one
makes DuckDB import pandas where that is installed, which takes half a second, inside a `write` block under the lock.

SQLite lets any value into any column, and Rust's or Python's text checks are not its own. DuckDB gives up a scan at
the first such cell, without naming the table; `find_bad_cells` finds them. Text that is not UTF-8 is replaced, a value
of another type is an error. `parse_json` does the same for cells of ours.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kaizen_analytics.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import duckdb
    import polars as pl

Parameter = int | float | str | None
Row = tuple[str | None, ...]

ATTACHED = "k"
"""The name under which DuckDB knows the SQLite file."""

_PREPARED = "ka_statement"
_STREAM = "ka_stream"
_MAX_INTEGER = 2**63 - 1


class _TableReader(Protocol):
    """What answers a native SQLite statement with rows of text, and a DuckDB `select` with a frame."""

    def native(self, sql: str, *parameters: Parameter) -> list[Row]:
        """Return the rows of one statement, every value as text."""

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return the rows of one `select`."""


def hide_progress_bar(connection: duckdb.DuckDBPyConnection) -> None:
    """Keep DuckDB's progress bar out of what a notebook shows.

    In a notebook without ipywidgets it is off, and any change of the setting is an error.

    >>> import duckdb
    >>> with duckdb.connect() as connection:
    ...     hide_progress_bar(connection)
    ...     connection.execute("select current_setting('enable_progress_bar')").fetchall()
    [(False,)]
    """
    [(is_shown,)] = connection.execute("select current_setting('enable_progress_bar')").fetchall()
    if is_shown:
        connection.execute("set enable_progress_bar = false")


def quote_text(text: str) -> str:
    """Return `text` as an SQL string literal.

    >>> quote_text("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    """Return `name` as an SQL identifier.

    >>> quote_name("order")
    '"order"'
    """
    return '"' + name.replace('"', '""') + '"'


def encode_list(values: Iterable[object]) -> str:
    """Return values as the JSON array that `json_each(?)` takes in a native statement.

    Raises:
        StoreError: a text holds U+0000, where SQLite would silently cut it off.

    >>> encode_list(["a", 1, None])
    '["a", 1, null]'
    """
    encoded = json.dumps(list(values), ensure_ascii=False, allow_nan=False)
    if r"\u0000" in encoded.replace(r"\\", ""):
        raise StoreError(f"A text for the store contains U+0000: {encoded[:200]}. Remove that character.")
    return encoded


def native_call(sql: str, *parameters: Parameter) -> str:
    """Return the DuckDB statement that runs `sql` as native SQLite.

    Raises:
        StoreError: a parameter that SQLite would change or refuse.

    >>> native_call("select ?", 1)
    "select * from sqlite_query('k', 'select ?', params=row('1'::bigint))"
    """
    row = ", ".join(map(_literal, parameters))
    given = f", params=row({row})" if parameters else ""
    return f"select * from sqlite_query('{ATTACHED}', {quote_text(sql)}{given})"


def run_query(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, object] | None = None
) -> duckdb.DuckDBPyConnection:
    """Execute a DuckDB statement whose parameters are written as `$name`.

    Raises:
        StoreError: a parameter is no number, text or None.

    >>> import duckdb
    >>> run_query(duckdb.connect(), "select $n + 1", {"n": 1}).fetchall()
    [(2,)]
    """
    if not parameters:
        return connection.execute(sql)
    # An untyped null fits wherever the statement compares it; sqlite_query wants a type.
    literals = {name: "null" if value is None else _literal(value) for name, value in parameters.items()}
    given = ", ".join(f"{quote_name(name)} := {text}" for name, text in literals.items())
    connection.execute(f"prepare {_PREPARED} as {sql}")
    return connection.execute(f"execute {_PREPARED}({given})")


def define_frame(connection: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    """Make a frame readable under a name, as a table in memory.

    >>> import duckdb, polars as pl
    >>> connection = duckdb.connect()
    >>> define_frame(connection, "numbers", pl.DataFrame({"n": [1, 2]}))
    >>> connection.execute("select sum(n) from numbers").fetchall()
    [(3,)]
    """
    # As a bare Arrow stream: to scan anything else, DuckDB imports pyarrow.dataset, and with it all of pandas.
    connection.register(_STREAM, frame.__arrow_c_stream__())
    connection.execute(f"create table {quote_name(name)} as select * from {_STREAM}")
    connection.unregister(_STREAM)


def _literal(value: object) -> str:
    """Return a parameter as a typed DuckDB literal.

    Raises:
        StoreError: it is no number, text or None, or one that SQLite would change.
    """
    # sqlite_query takes these three types and nothing else.
    if value is None:
        return "null::varchar"
    if isinstance(value, int):
        if not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
            raise StoreError(f"{value} does not fit into SQLite's 64-bit integers.")
        return f"'{int(value)}'::bigint"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StoreError(f"{value} cannot be stored: SQLite would keep NaN as NULL. Expected a finite number.")
        return f"'{value!r}'::double"
    if not isinstance(value, str):
        raise StoreError(f"A parameter is a {type(value).__name__}; expected a number, a text or None.")
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"{value[:200]!r} holds a lone surrogate, which is not valid Unicode; remove it.") from error
    # DuckDB ends a statement at U+0000.
    return f"decode(unhex('{encoded.hex()}'))" if "\0" in value else f"{quote_text(value)}::varchar"


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
