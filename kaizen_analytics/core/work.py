"""Which task, and which day, a session belongs to: one rule for usage and for experiments."""

from __future__ import annotations

import polars as pl

from kaizen_analytics.core.model import WorkUnit

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
