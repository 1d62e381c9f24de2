"""A store whose every text is a canary: identities and secrets, made anew for each run, in every column they fit."""

from __future__ import annotations

import base64
import html
import json
import random
import re
import urllib.parse
import zlib
from typing import TYPE_CHECKING

import polars as pl

from benchmarks.redaction_corpus import fill
from kaizen_analytics.core.model import Classification, Delta, Direction, Experiment, ManualTag, Metric
from kaizen_analytics.experiments.lifecycle import new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.store import Store
from kaizen_analytics.store.sessions import write_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY_MS = 86_400_000
START_MS = 1_790_553_600_000
"""2026-09-28, a Monday."""
EXPERIMENT_NAME = "Plans before edits"
STRUCTURE = frozenset({"status", "source", "kind", "state", "variant", "action", "reason"})
"""Columns that hold words of ours: another word there is a broken store, which is refused."""
TABLES = (
    "experiments",
    "experiment_tags",
    "sessions",
    "events",
    "files_touched",
    "skills_used",
    "rules_used",
    "ka_plans",
    "ka_tag_log",
    "ka_session_attributes",
)


class Canaries:
    """Makes texts that must not leave, and remembers each part of them."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.values: list[str] = []

    def word(self) -> str:
        return self._keep("q" + fill("{an9}", self.rng).lower())

    def email(self) -> str:
        return f"{self.word()}@{self.word()}.io"

    def home(self) -> str:
        return f"/home/{self.word()}/work"

    def secret(self) -> str:
        return "ghp_" + self._keep(fill("{an36}", self.rng))

    def prose(self) -> str:
        """Return a sentence that needs escaping in every format, with one canary of each kind."""
        return (
            f'<b>*Ask* & "{self.email()}"</b> | API_KEY={self.secret()} `in` {self.home()}/x_y_z '
            f"C:\\Users\\{self.word()}\\x =1+1"
        )

    def _keep(self, value: str) -> str:
        self.values.append(value)
        return value

    def find_in(self, raw: bytes) -> list[str]:
        """Return the canaries that can be read in `raw`, however they are spelled there."""
        shown = "\n".join(readings(raw)).lower()
        return [value for value in self.values if value.lower() in shown]


def readings(raw: bytes) -> Iterator[str]:
    """Yield the text of an artefact: as it is, without each kind of escapes, decoded and inflated."""
    text = raw.decode("utf-8", "replace")
    for _ in range(4):
        yield text
        text = html.unescape(urllib.parse.unquote(text))
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
        text = re.sub(r"<[^<>]*>|\\+|\u00ad|\u200b", "", text)
    for run in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", raw.decode("utf-8", "replace")):
        whole = run.rstrip("=")
        whole = whole[: len(whole) - (len(whole) % 4 == 1)]
        yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", "replace")
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL):
        try:
            yield zlib.decompress(stream).decode("utf-8", "replace")
        except zlib.error:
            continue


def write_store(path: Path, canaries: Canaries) -> str:
    """Fill a store: an experiment with two arms of 12 sessions in one week; return the experiment's id."""
    experiment_id = f"exp-{canaries.email()}"
    workspaces = [canaries.home(), f"/srv/{canaries.email()}/{canaries.secret()}"]
    agents = [f"agent {canaries.email()}", f"agent-{canaries.secret()}"]
    models = [f"model {canaries.email()}", f"model-{canaries.secret()}"]
    sessions, events, touched = [], [], []
    for number in range(24):
        name = f"s{number}-{canaries.email()}" if number % 3 else f"s{number}-{canaries.secret()}"
        place = number % 2
        sessions.append(_session(canaries, name, number, workspaces[place], agents[place], models[number // 12]))
        events += _events(canaries, name, number, workspaces[place])
        touched += [{"session_id": name, "path": f"{workspaces[place]}/{part}/a_b.py"} for part in ("src", "tests")]
    with Store.open(path, create=True) as store:
        tables = {"events": pl.DataFrame(events), "files_touched": pl.DataFrame(touched)}
        used = [(table, column) for table, column in (("skills_used", "skill"), ("rules_used", "rule"))]
        for table, column in used:
            tables[table] = pl.DataFrame([{"session_id": row["id"], column: canaries.email()} for row in sessions])
        write_sessions(store, pl.DataFrame(sessions, infer_schema_length=None), tables)
        _add_experiment(store, canaries, experiment_id, [str(row["id"]) for row in sessions])
        people = [(row["id"], canaries.word(), canaries.word()) for row in sessions]
        with store.write():
            frame = pl.DataFrame(people, schema=["session_id", "user", "organisation"], orient="row")
            store.insert("ka_session_attributes", frame)
    return experiment_id


def _session(canaries: Canaries, name: str, number: int, workspace: str, agent: str, model: str) -> dict[str, object]:
    started_ms = START_MS + number * DAY_MS // 6
    return {
        "id": name,
        "agent": agent,
        "model": model,
        "workspace": workspace,
        "started_at_ms": started_ms,
        "ended_at_ms": started_ms + 600_000 + 1_000 * number,
        "status": "Done",
        "trace_path": f"{canaries.home()}/trace.jsonl",
        "start_commit": canaries.secret(),
        "end_commit": canaries.secret(),
        "branch": f"feature/{canaries.email()}",
        "repo_binding_source": canaries.email(),
        "prompt_fingerprint": f"print {canaries.email()}",
        "parent_session_id": None,
        "agent_version": canaries.email(),
        "os": canaries.email(),
        "arch": canaries.email(),
    }


def _events(canaries: Canaries, session: str, number: int, workspace: str) -> list[dict[str, object]]:
    tool = f"mcp__{canaries.email()}" if number % 2 else "Bash"
    command = f"deploy --token {canaries.secret()} --to {canaries.email()}"
    path = f"{workspace}/src/a_b.py"
    payloads: list[tuple[str, str | None, dict[str, object]]] = [
        ("Message", None, {"role": "user", "prompt": True, "text": canaries.prose(), "chars": 80}),
        ("Message", None, {"role": "assistant", "model": canaries.email(), "text": canaries.prose()}),
    ]
    for _ in range(4):
        payloads.append(("ToolCall", "Edit", {"input": {"path": path}, "path": path}))
        payloads.append(("ToolCall", tool, {"input": {"command": command}}))
        payloads.append(("ToolResult", tool, {"is_error": True, "chars": 6, "error": f"denied to {canaries.email()}"}))
    return [
        {
            "session_id": session,
            "seq": seq,
            "ts_ms": START_MS + number * DAY_MS // 6 + 1_000 * seq,
            "kind": kind,
            "source": "Tail",
            "tool": used,
            "payload": json.dumps(payload),
            "ts_exact": 1,
            "tool_call_id": canaries.secret(),
            "stop_reason": canaries.email(),
            "tokens_in": 900 + 17 * number if seq == 1 else None,
            "cache_read_tokens": 10 if seq == 1 else None,
            "cost_usd_e6": 10_000 if seq == 1 else None,
        }
        for seq, (kind, used, payload) in enumerate(payloads)
    ]


def _add_experiment(store: Store, canaries: Canaries, experiment_id: str, sessions: list[str]) -> None:
    experiment = Experiment(
        id=experiment_id,
        name=f"{EXPERIMENT_NAME} {canaries.prose()}",
        hypothesis=canaries.prose(),
        change_description=canaries.prose(),
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field=canaries.email()),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10.0),
        created_at_ms=START_MS,
    )
    new_experiment(store, experiment, Plan(planned_n=12, repository=canaries.home()))
    start(store, experiment_id, now_ms=START_MS)
    arms = {Classification.CONTROL: sessions[::2], Classification.TREATMENT: sessions[1::2]}
    for arm, members in arms.items():
        tag(store, experiment_id, members, arm, now_ms=START_MS)


def list_text_columns(store: Store) -> dict[str, list[str]]:
    """Return the columns of the tables with data of people that may hold any text."""
    return {
        table: [
            name
            for name, kind in store.native(f"select name, type from pragma_table_info('{table}')")
            if kind == "TEXT" and name not in STRUCTURE
        ]
        for table in TABLES
    }
