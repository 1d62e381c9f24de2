"""The queries of `sql/` as Polars frames whose columns were checked.

A query is a file and the columns that it promises. A mart reads relations that are not tables of the store
(`staged_events`); `Query.reads` names the staging file behind each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import polars as pl

from kaizen_analytics.core.errors import QueryError, did_you_mean
from kaizen_analytics.core.model import Metric, WorkUnit
from kaizen_analytics.core.settings import load_sql

if TYPE_CHECKING:
    from collections.abc import Mapping


Schema = dict[str, pl.DataType]

_COMMENT = re.compile(r"--[^\n]*")
_TEXT = re.compile(r"'(?:[^']|'')*'")
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")


def columns(*, text: str = "", whole: str = "", number: str = "", flag: str = "") -> Schema:
    """Return columns by what they hold: names with blanks between them.

    >>> columns(text="id", whole="n_events seq")
    {'id': String, 'n_events': Int64, 'seq': Int64}
    """
    kinds = ((text, pl.String()), (whole, pl.Int64()), (number, pl.Float64()), (flag, pl.Boolean()))
    return {name: kind for names, kind in kinds for name in names.split()}


class Reader(Protocol):
    """Whatever answers a DuckDB `select` with a frame, as a `Store` does."""

    def read(self, sql: str, parameters: Mapping[str, object] | None = None) -> pl.DataFrame:
        """Return the rows of one `select`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One file of `sql/`, the staging files behind the relations it reads, and the columns of its result."""

    path: str
    schema: Schema
    reads: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the query over the store's own tables.

        Raises:
            QueryError: a file is missing.
        """
        return load_sql(self.path, self.reads)

    def run(self, reader: Reader, **parameters: object) -> pl.DataFrame:
        """Run the query and return its rows.

        Raises:
            QueryError: a parameter is missing or unknown, or a column of the result is not as declared.
        """
        sql = self.text()
        _check_parameters(self.path, sql, parameters)
        frame = reader.read(sql, parameters)
        check_schema(self.path, frame, self.schema)
        return frame


def find_parameters(sql: str) -> frozenset[str]:
    """Return the names of the `$parameters` in a query, outside comments and text literals.

    >>> sorted(find_parameters("select $a, '$b' -- $c"))
    ['a']
    """
    return frozenset(_PARAMETER.findall(_TEXT.sub("''", _COMMENT.sub("", sql))))


def _check_parameters(path: str, sql: str, given: Mapping[str, object]) -> None:
    """Raise `QueryError` unless the given names are exactly the query's parameters."""
    expected = find_parameters(sql)
    for name in given:
        if name not in expected:
            raise QueryError(f"sql/{path} has no parameter ${name}.{did_you_mean(name, expected)}")
    missing = sorted(expected - set(given))
    if missing:
        raise QueryError(f"sql/{path} needs a value for ${', $'.join(missing)}.")


def check_schema(path: str, frame: pl.DataFrame, schema: Schema) -> None:
    """Raise `QueryError` that names every column that is missing, unexpected or of another type.

    >>> check_schema("x.sql", pl.DataFrame({"a": [1]}), {"a": pl.Int64()})
    """
    wrong = [
        *(f"{name} is missing" for name in schema if name not in frame.columns),
        *(f"{name} is not declared" for name in frame.columns if name not in schema),
        *(
            f"{name} is {frame.schema[name]}, expected {dtype}"
            for name, dtype in schema.items()
            if name in frame.columns and frame.schema[name] != dtype
        ),
    ]
    if wrong:
        raise QueryError(f"sql/{path} returned other columns than declared: {'; '.join(wrong)}.")


_OUTCOMES = "staging/root_outcomes.sql"
_METRICS_SCHEMA: Schema = {
    **columns(
        text="session_id agent model workspace",
        whole="started_at_ms ended_at_ms last_event_ms sessions_counted responses unpriced_responses "
        "unreliable_responses",
        number="tool_results input_tokens lines_added lines_surviving",
    ),
    **{metric.column: pl.Float64() for metric in Metric},
}

ROOT_OUTCOMES = Query(
    path=_OUTCOMES,
    schema=columns(
        text="session_id", number="checks_passed n_commits landed reverted lines_added lines_surviving score"
    ),
)
"""What came out of each root session, as numbers. A lake holds none."""

SESSION_METRICS = Query(
    path="marts/session_metrics.sql",
    schema=_METRICS_SCHEMA,
    reads={
        "staged_events": "staging/events.sql",
        "root_outcomes": _OUTCOMES,
        "session_roots": "staging/session_roots.sql",
    },
)
"""Every metric of every root session, its sub-agents included."""


_DEFAULT_BRANCHES = ("main", "master", "trunk", "develop", "HEAD")


def unit_of_work(unit: WorkUnit) -> pl.Expr:
    """Return what names the unit of work of a session.

    Reads the columns `session_id`; for a task also `pull_request`, `workspace` and `branch` (text or null), for a day
    `started_at_ms`. A branch of the same name in another folder is another task.

    >>> row = {"session_id": "s", "pull_request": None, "workspace": "/w", "branch": "topic", "started_at_ms": 0}
    >>> pl.DataFrame(row).select(unit_of_work(unit).alias(unit) for unit in WorkUnit).row(0)
    ('s', '/w topic', '1970-01-01')
    """
    session = pl.col("session_id")
    if unit is WorkUnit.SESSION:
        return session
    if unit is WorkUnit.DAY:
        return pl.from_epoch("started_at_ms", time_unit="ms").dt.strftime("%Y-%m-%d")
    branch = pl.when(~pl.col("branch").is_in(_DEFAULT_BRANCHES)).then(pl.col("workspace") + " " + pl.col("branch"))
    return pl.coalesce(pl.col("pull_request").cast(pl.String), branch, session)
