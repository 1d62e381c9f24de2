"""Sessions for tests of findings, written call by call; numbers are round so that a reader can add them up."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from kaizen_analytics.core.model import Window
from kaizen_analytics.retro.classes import CLASSES
from kaizen_analytics.retro.findings import Finding, NotEvaluable, collect_evidence, judge_evidence
from kaizen_analytics.retro.material import (
    CALLS,
    ERRORS,
    OUTCOMES,
    PROMPTS,
    RESPONSES,
    SESSIONS,
    Material,
    build_material,
)

DAY_MS = 86_400_000
END_MS = 20_000 * DAY_MS
WINDOW = Window(start_ms=END_MS - 28 * DAY_MS, end_ms=END_MS)
REPOSITORY = "/w/shop"
MODEL = "claude-sonnet-4-5"
"""3 dollars a million tokens; 0.30 read from, 3.75 or (an hour) 6 written to a cache; 15 for output."""


@dataclass
class Session:
    """One session that started `day` days before the end of the window; each method adds one row."""

    name: str
    day: float
    agent: str = "claude_code"
    model: str | None = MODEL
    workspace: str = REPOSITORY
    parent: str | None = None
    is_orphan: bool = False
    calls: list[dict[str, object]] = field(default_factory=list)
    responses: list[dict[str, object]] = field(default_factory=list)
    prompts: list[dict[str, object]] = field(default_factory=list)
    errors: list[dict[str, object]] = field(default_factory=list)
    lost_share: float | None = None
    seq: int = 0
    minute: float = 0.0

    def _next(self) -> dict[str, object]:
        self.seq += 1
        at_ms = END_MS - round(self.day * DAY_MS) + round(self.minute * 60_000)
        return {"session_id": self.name, "seq": self.seq, "ts_ms": at_ms}

    def wait(self, minutes: float) -> Session:
        self.minute += minutes
        return self

    def prompt(self, text: str) -> Session:
        self.prompts.append({**self._next(), "text": text, "chars": len(text)})
        return self

    def fail(self, error: str) -> Session:
        """An error of the service, or an interruption."""
        self.errors.append({**self._next(), "error": error})
        return self

    def answer(
        self, *, read: int = 0, write: int = 0, hour: bool = False, segment: int = 0, **columns: object
    ) -> Session:
        """A response without output that reads and writes so many tokens, at today's price."""
        cost = round(read * 0.3 + write * (6 if hour else 3.75))
        row = {"model": self.model, "context_tokens": read + write, "input_tokens": 0, "output_tokens": 0}
        row |= {"write_tokens": write, "read_tokens": read, "cost_usd_e6": cost, "segment": segment}
        self.responses.append({**self._next(), **row, **columns})
        return self

    def call(self, tool: str, *, error: str | None = None, chars: int = 0, **columns: object) -> Session:
        row = self._next()
        self.seq += 1
        facts = {"result_seq": self.seq, "failed": error is not None, "rejected": False, "error": error, "chars": chars}
        self.calls.append({**row, "tool": tool, **facts, **columns})
        return self

    def run(self, command: str, error: str | None = None, **columns: object) -> Session:
        return self.call("Bash", error=error, command=command, **columns)


def frame(rows: list[dict[str, object]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    assert all(row.keys() <= schema.keys() for row in rows), "a row names an unknown column"
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def material_of(*sessions: Session) -> Material:
    starts = {item.name: END_MS - round(item.day * DAY_MS) for item in sessions}
    rows = [
        {
            "session_id": item.name,
            "root_id": item.parent or item.name,
            "agent": item.agent,
            "model": item.model,
            "workspace": item.workspace,
            "started_at_ms": starts[item.name],
            "root_started_at_ms": starts[item.parent or item.name],
            "is_orphan": item.is_orphan,
        }
        for item in sessions
    ]
    return build_material(
        frame(rows, SESSIONS),
        frame([row for item in sessions for row in item.responses], RESPONSES),
        frame([row for item in sessions for row in item.calls], CALLS),
        frame([row for item in sessions for row in item.prompts], PROMPTS),
        frame([row for item in sessions for row in item.errors], ERRORS),
        frame(
            [
                {"session_id": item.name, "lost_share": item.lost_share}
                for item in sessions
                if item.lost_share is not None
            ],
            OUTCOMES,
        ),
    )


Judged = tuple[tuple[Finding, ...], tuple[NotEvaluable, ...]]


def judge(*sessions: Session, window: Window = WINDOW, only: str | None = None) -> Judged:
    kinds = [kind for kind in CLASSES if only in (None, kind.name)]
    return judge_evidence(collect_evidence(material_of(*sessions), kinds), window)


def find(kind: str, *sessions: Session) -> list[Finding]:
    return list(judge(*sessions, only=kind)[0])


def lacking(kind: str, *sessions: Session) -> list[str]:
    return [item.reason for item in judge(*sessions, only=kind)[1]]
