"""Sessions for tests of findings, written call by call; numbers are round so that a reader can add them up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

from kaizen_analytics.core.model import Window
from kaizen_analytics.retro.classes import CLASSES
from kaizen_analytics.retro.findings import Finding, NotEvaluable, collect_evidence, judge_evidence
from kaizen_analytics.retro.material import (
    _CALLS,
    _ERRORS,
    _OUTCOMES,
    _PROMPTS,
    _RESPONSES,
    _SESSIONS,
    Material,
    _build_material,
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
        facts = {"result_seq": self.seq, "failed": error is not None, "error": error, "chars": chars}
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
    return _build_material(
        frame(rows, _SESSIONS.schema),
        frame([row for item in sessions for row in item.responses], _RESPONSES.schema),
        frame([row for item in sessions for row in item.calls], _CALLS.schema),
        frame([row for item in sessions for row in item.prompts], _PROMPTS.schema),
        frame([row for item in sessions for row in item.errors], _ERRORS.schema),
        frame(
            [
                {"session_id": item.name, "lost_share": item.lost_share}
                for item in sessions
                if item.lost_share is not None
            ],
            _OUTCOMES.schema,
        ),
    )


Judged = tuple[tuple[Finding, ...], tuple[NotEvaluable, ...]]


def judge(*sessions: Session, window: Window = WINDOW, only: str | None = None) -> Judged:
    kinds = [kind for kind in CLASSES if only in (None, kind.name)]
    return judge_evidence(collect_evidence(material_of(*sessions), kinds), window)


def find(kind: str, *sessions: Session) -> list[Finding]:
    return list(judge(*sessions, only=kind)[0])


def three(build: Callable[[Session], Session]) -> list[Session]:
    """The same session on three days."""
    return [build(Session(f"s{day}", day)) for day in (9, 5, 2)]


OPUS = "claude-opus-4-5"
"""5 dollars a million tokens, 0.50 read from and 6.25 written to a cache."""


def misspell(session: Session) -> Session:
    session.answer(write=10_000)
    session.run("rtk bun test 2>&1", "Exit code 2\nerror: unrecognized subcommand 'bun'", chars=400)
    session.answer(read=10_000, write=100)
    return session.run("bun test 2>&1").answer(read=10_100)


def look_for_docs(session: Session) -> Session:
    return session.run("ls docs", "Exit code 2\nls: cannot access 'docs': No such file or directory").answer(read=9_000)


def refuse(session: Session, good: int = 10) -> Session:
    error = "<tool_use_error>File has not been read yet. Read it first before writing to it.</tool_use_error>"
    session.call("Edit", error=error, path=f"{REPOSITORY}/a.py").answer(read=10_000)
    for _ in range(good):
        session.call("Edit", path=f"{REPOSITORY}/a.py")
    return session


def lint(session: Session, fixer: str = "bun run lint:fix") -> Session:
    session.run("bun run lint", "Exit code 1\nformat", chars=400).answer(read=10_000)
    return session.run(fixer).answer(read=10_000)


def search(session: Session, chars: int = 40_000) -> Session:
    session.run("rg -n experiment src docs", chars=chars)
    return session.answer(write=10_000).answer(read=10_000).answer(read=10_000)


def read_whole(session: Session, chars: int = 20_000) -> Session:
    session.call("Read", path=f"{REPOSITORY}/docs/plan.md", chars=chars)
    return session.answer(write=10_000).answer(read=10_000)


def pause(session: Session, minutes: float = 20, grown: int = 0) -> Session:
    session.answer(write=50_000).wait(minutes)
    session.answer(write=50_000)
    for step in range(1, 4):
        session.answer(read=50_000, write=grown * step)
    return session


def go_on(
    session: Session,
    later: int = 40,
    text: str = "Now look at the import of prices and mend its rounding",
    then: str = "prices.py",
) -> Session:
    session.prompt("Build the basket").answer(write=20_000).call("Edit", path=f"{REPOSITORY}/basket.py")
    session.answer(read=20_000, write=80_000).prompt(text).call("Read", path=f"{REPOSITORY}/{then}")
    for _ in range(later):
        session.answer(read=100_000)
    return session


def ask(session: Session, text: str = "Commit this, please!") -> Session:
    return session.prompt("Build it").answer(read=10_000).prompt(text).answer(read=20_000)


def edit(session: Session, check: str | None) -> Session:
    session.call("Edit", path=f"{REPOSITORY}/a.py")
    return session if check is None else session.run(check)


def wait_for(session: Session, command: str) -> Session:
    return session.run(command, "This command requires approval", chars=0).answer(read=10_000)


def tick(session: Session, *beside: str) -> Session:
    session.answer(write=50_000)
    session.call("TaskUpdate", chars=20)
    for tool in beside:
        session.call(tool, chars=20)
    return session.answer(read=50_000, write=100)


def poll(session: Session, times: int = 3) -> Session:
    session.answer(write=40_000)
    for _ in range(times):
        session.call("write_stdin", chars=100).answer(read=40_000)
    return session


def fail_again(session: Session, *, edits: bool = True) -> Session:
    for _ in range(2):
        session.run("go test ./...", "Exit code 1\n--- FAIL: TestA").answer(read=20_000)
        if edits:
            session.call("Edit", path=f"{REPOSITORY}/a.go").answer(read=21_000)
    return session


def with_child(tokens: int, path: str = "b.py", held: int = 10_000, then: str = "Read") -> list[Session]:
    """A parent that began with 10,000 tokens and holds `held` when it starts a child with `tokens`."""
    sessions = []
    for day in (9, 5, 2):
        root = Session(f"s{day}", day).answer(write=10_000).wait(1).answer(read=10_000, write=held - 10_000)
        root.call("Task", chars=400)
        child = Session(f"c{day}", day - 0.01, parent=root.name).answer(write=tokens)
        child.call("Read", path=f"{REPOSITORY}/a.py", chars=4_000).answer(read=tokens)
        root.wait(60).answer(read=10_000).call("Read", path=f"{REPOSITORY}/{path}", chars=4_000).answer(read=11_000)
        if then != "Read":
            root.call(then, path=f"{REPOSITORY}/{path}").answer(read=11_000)
        sessions += [root, child]
    return sessions


def begin(session: Session, tokens: int = 30_000, agent: str = "claude_code") -> Session:
    """A start with a prompt of 100 tokens."""
    session.agent = agent
    return session.prompt("x" * 400).answer(write=tokens).answer(read=tokens)


def lean(agent: str = "claude_code") -> Session:
    return begin(Session(f"lean-{agent}", 4, workspace="/w/other"), 16_000, agent)


def look(session: Session, tool: str = "Read") -> Session:
    session.model = OPUS
    session.prompt("Where is it?").answer(read=100_000, cost_usd_e6=50_000).call(tool, path="a.py", chars=4)
    return session.answer(read=100_000, cost_usd_e6=50_000)


def edit_files(session: Session, *files: str) -> Session:
    session.answer(write=30_000)
    for file in files:
        session.call("Edit", path=f"{REPOSITORY}/{file}").answer(read=30_000)
    return session


def mend_lint(session: Session, *, mended: str = "Edit") -> Session:
    session.run("make lint", "Exit code 1\na.py:1: E501").answer(read=20_000)
    session = session.call("Edit", path=f"{REPOSITORY}/a.py") if mended == "Edit" else session.run(mended)
    return session.answer(read=21_000).run("make lint").answer(read=22_000)
