"""Checks of a store: one file of `sql/checks/` each, where no row means passed.

A file's header says what holds (`purpose`), whether a row is an `error` or a `note` (`severity`), and what to do about
it (`remedy`).
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import QueryError
from kaizen_analytics.core.settings import find_folder, load_sql
from kaizen_analytics.store.assignments import count_waiting
from kaizen_analytics.store.cells import find_bad_cells
from kaizen_analytics.store.sessions import find_changed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.store import Store

_HEADER = re.compile(r"^-- (purpose|severity|remedy): (.+?)\.?$", re.MULTILINE)
_EXAMPLES = 5
_STAGING = {"staged_events": "staging/events.sql", "session_roots": "staging/session_roots.sql"}


class Severity(StrEnum):
    """What a row of a check means."""

    ERROR = "error"
    """Something is broken, and numbers may be wrong."""
    NOTE = "note"
    """Something is missing; the numbers say so themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckResult:
    """One check: what holds, how many rows contradict it, and the first few of them."""

    name: str
    purpose: str
    severity: Severity
    remedy: str
    rows: int
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing contradicts it."""
        return self.rows == 0

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return {**asdict(self), "passed": self.passed}


def run_checks(store: Store) -> list[_CheckResult]:
    """Run every check on a store, the file's own integrity first.

    Raises:
        StoreError: the store cannot be read at all.
        QueryError: a check's header is incomplete.

    >>> [result.name for result in run_checks(store) if not result.passed]
    ['incomplete_output_counts']
    """
    files = sorted((find_folder("sql") / "checks").glob("*.sql"))
    return [
        _check_integrity(store),
        *_check_spool(store),
        *(_run_check(store, file.stem) for file in files),
    ]


def run_deep_checks(
    store: Store, session_columns: Sequence[str], event_columns: Sequence[str]
) -> tuple[_CheckResult, ...]:
    """Read every page of a store and compare each session and conclusion with the digest that was stored with it.

    Args:
        session_columns: What went into the digests: see `sessions.find_changed`.

    Raises:
        StoreError: the store cannot be read at all.

    >>> from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
    >>> [result.rows for result in run_deep_checks(store, SESSION_COLUMNS, EVENT_COLUMNS)]
    [0, 0, 0, 0]
    """
    damaged = _check_integrity(store, deep=True)
    if not damaged.passed:
        return (damaged,)
    undigested = "select count(*) from sessions where id not in (select id from ka_digests where kind = 'session')"
    return (
        damaged,
        _judge_damage(
            "cells",
            "every value has its column's type, and text is UTF-8 (at most 100 cells of a table are listed)",
            [{"table": one.table, "column": one.column, "row": one.row_id} for one in find_bad_cells(store)],
        ),
        _judge_damage(
            "digests",
            "sessions and conclusions are what was written",
            [{"changed": one} for one in find_changed(store, session_columns, event_columns)],
        ),
        _CheckResult(
            name="without_digest",
            purpose="every session has a digest",
            severity=Severity.NOTE,
            remedy="ingest into a new store; a session that an older version wrote gets one when its transcript grows",
            rows=int(store.native(undigested)[0][0] or 0),
        ),
    )


def _run_check(store: Store, name: str) -> _CheckResult:
    """Run the check `sql/checks/<name>.sql`."""
    path = f"checks/{name}.sql"
    text = load_sql(path)
    header = dict(_HEADER.findall(text))
    if set(header) != {"purpose", "severity", "remedy"}:
        raise QueryError(f"sql/{path} lacks a line of its header; expected purpose, severity and remedy.")
    reads = {relation: staging for relation, staging in _STAGING.items() if relation in text}
    frame = store.read(load_sql(path, reads))
    return _CheckResult(
        name=name,
        purpose=header["purpose"],
        severity=Severity(header["severity"]),
        remedy=header["remedy"],
        rows=frame.height,
        examples=tuple(frame.sort(frame.columns).head(_EXAMPLES).to_dicts()),
    )


def _check_integrity(store: Store, *, deep: bool = False) -> _CheckResult:
    problems = [row[0] for row in store.native(f"pragma {'integrity' if deep else 'quick'}_check") if row[0] != "ok"]
    return _judge_damage(
        "pages" if deep else "integrity",
        "every page, index and row fits the others" if deep else "the SQLite file is whole",
        [{"problem": problem} for problem in problems],
    )


def _judge_damage(name: str, purpose: str, found: list[dict[str, Any]]) -> _CheckResult:
    return _CheckResult(
        name=name,
        purpose=purpose,
        severity=Severity.ERROR,
        remedy="restore the store from a backup, or ingest into a new one",
        rows=len(found),
        examples=tuple(found[:_EXAMPLES]),
    )


def _check_spool(store: Store) -> list[_CheckResult]:
    """Say what the hooks recorded and no command has taken in yet, and which of their lines are lost."""
    rejected = store.native("select coalesce(sum(n_rejected), 0) from ka_spools")
    return [
        _CheckResult(
            name="waiting_draws",
            purpose="every session that a hook drew is in the store",
            severity=Severity.NOTE,
            remedy="run any 'exp' command, which takes them in",
            rows=count_waiting(store),
        ),
        _CheckResult(
            name="lost_draws",
            purpose="every line that a hook wrote is whole",
            severity=Severity.NOTE,
            remedy="make room on the disk; sessions without a draw are counted in the report",
            rows=int(rejected[0][0] or 0),
        ),
    ]
