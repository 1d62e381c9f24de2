"""Checks of a store: one file of `sql/checks/` each, where no row means passed.

A file's header says what holds (`purpose`), whether a row is an `error` or a `note` (`severity`), and what to do about
it (`remedy`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import QueryError
from kaizen_analytics.queries import Query, load_sql
from kaizen_analytics.resources import find_folder
from kaizen_analytics.store.sessions import foreign_sessions

if TYPE_CHECKING:
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
class CheckResult:
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
        return {
            "name": self.name,
            "purpose": self.purpose,
            "severity": self.severity.value,
            "remedy": self.remedy,
            "passed": self.passed,
            "rows": self.rows,
            "examples": list(self.examples),
        }


def run_checks(store: Store) -> list[CheckResult]:
    """Run every check on a store, the file's own integrity first.

    Raises:
        StoreError: the store cannot be read at all.
        QueryError: a check's header is incomplete.
    """
    files = sorted((find_folder("sql") / "checks").glob("*.sql"))
    return [_check_integrity(store), _check_foreign(store), *(run_check(store, file.stem) for file in files)]


def run_check(store: Store, name: str) -> CheckResult:
    """Run the check `sql/checks/<name>.sql`."""
    path = f"checks/{name}.sql"
    text = load_sql(path)
    header = dict(_HEADER.findall(text))
    if set(header) != {"purpose", "severity", "remedy"}:
        raise QueryError(f"sql/{path} lacks a line of its header; expected purpose, severity and remedy.")
    reads = {relation: staging for relation, staging in _STAGING.items() if relation in text}
    frame = store.read(Query(path=path, schema={}, reads=reads).text())
    return CheckResult(
        name=name,
        purpose=header["purpose"],
        severity=Severity(header["severity"]),
        remedy=header["remedy"],
        rows=frame.height,
        examples=tuple(frame.sort(frame.columns).head(_EXAMPLES).to_dicts()),
    )


def _check_integrity(store: Store) -> CheckResult:
    problems = [row[0] for row in store.native("pragma quick_check") if row[0] != "ok"]
    return CheckResult(
        name="integrity",
        purpose="the SQLite file is whole",
        severity=Severity.ERROR,
        remedy="restore the store from a backup, or ingest into a new one",
        rows=len(problems),
        examples=tuple({"problem": problem} for problem in problems[:_EXAMPLES]),
    )


def _check_foreign(store: Store) -> CheckResult:
    sessions = foreign_sessions(store)
    return CheckResult(
        name="foreign_events",
        purpose="nobody else added events to our sessions",
        severity=Severity.ERROR,
        remedy="ingest with --adopt to replace these sessions; evaluations leave them out until then",
        rows=len(sessions),
        examples=tuple({"session_id": session_id} for session_id in sessions[:_EXAMPLES]),
    )
