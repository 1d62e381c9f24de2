"""SQL texts: quoting, lists as JSON, native SQLite statements with their parameters, and our own JSON in cells.

DuckDB runs a statement as native SQLite through `sqlite_query`. Parameters are written as literals: binding even one
makes DuckDB import pandas where that is installed, which takes half a second, inside a `write` block under the lock.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb
    import polars as pl

Parameter = int | float | str | None
Row = tuple[str | None, ...]

ATTACHED = "k"
"""The name under which DuckDB knows the SQLite file."""

_PREPARED = "ka_statement"
_STREAM = "ka_stream"
_MAX_INTEGER = 2**63 - 1


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
