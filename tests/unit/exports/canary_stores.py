"""A store in which every text that somebody wrote holds the canary, and how to find it in bytes of any format."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import re
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import polars as pl
from experiment_cases import DAY_MS, make_experiment

from kaizen_analytics.core.model import Classification, Direction, GuardrailSpec, ManualTag, Metric, Window
from kaizen_analytics.experiments.lifecycle import conclude, new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.retro.retro import compute_retro, save_retro
from kaizen_analytics.store.sessions import write_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.store import Store

CANARY = "zqcanary"
START_MS = 1_790_553_600_000
"""2026-09-28, a Monday."""
WEEK = Window(start_ms=START_MS, end_ms=START_MS + 7 * DAY_MS)
NOW_MS = WEEK.end_ms + DAY_MS
WORKSPACE = f"/srv/{CANARY}/shop"
PEOPLE = f"of {CANARY}@{CANARY}.io, API_KEY={CANARY}7Kp2vX, in /home/{CANARY}/work and C:\\Users\\{CANARY}\\x"
"""Shaped like what redaction finds: no text that is shared may keep it."""
STRUCTURE = frozenset({"status", "source", "kind", "state", "variant", "action", "repo_binding_source"})
"""Columns that hold words, hashes and numbers of ours."""


def text(number: int = 0) -> str:
    """A text as people write it: words, a path, a name, markup, none of it shaped like a secret."""
    return f"{CANARY}{number} wrote *{CANARY}* in /srv/{CANARY}/x_{number}.py `{CANARY}` =1+1 <b>{CANARY}</b>"


def fill_store(store: Store, *, named: str = "") -> None:
    """Sessions of one week, a concluded experiment and a retro with findings about them.

    With `named`, what users share of an experiment on purpose holds no canary but in names and secrets of people, and
    its id is that.
    """
    sessions, events, touched = [], [], []
    for number in range(24):
        name = f"s{number}-{CANARY}"
        sessions.append(_session(name, number))
        events += _events(name, number)
        touched += [{"session_id": name, "path": f"{WORKSPACE}/{part}/{CANARY}.py"} for part in ("src", "web")]
    children = {"events": pl.DataFrame(events, infer_schema_length=None), "files_touched": pl.DataFrame(touched)}
    for table, column in (("skills_used", "skill"), ("rules_used", "rule")):
        children[table] = pl.DataFrame([{"session_id": row["id"], column: text()} for row in sessions])
    write_sessions(store, pl.DataFrame(sessions, infer_schema_length=None), children)
    with store.write():
        for row in sessions:
            values = (str(row["id"]), f"{CANARY} person", f"{CANARY} company")
            store.native("insert into ka_session_attributes values (?, ?, ?) returning 1", *values)
        texts = ("session_id", "commit_ids", "pull_request", "reason", "branch_tip", "mark")
        outcome = f"insert into ka_outcomes (checks, computed_at_ms, {', '.join(texts)}) "
        store.native(f"{outcome} values (0, 0, ?, ?, ?, ?, ?, ?) returning 1", *([CANARY] * len(texts)))
        store.native("insert into ka_lines values (?, ?, 1) returning 1", *([CANARY] * 2))
        store.native("insert into session_feedback values (?, ?, 1, ?, ?, 0) returning 1", *([CANARY] * 4))
        store.native("insert into ka_arms values (?, ?, ?) returning 1", *([CANARY] * 3))
        store.native("insert into ka_draws values (?, ?, ?, ?, ?, 0) returning 1", *([CANARY] * 5))
        store.native("insert into ka_exposures values (?, ?, 1) returning 1", *([CANARY] * 2))
        store.native("insert into ka_spools values (?, 0, 0) returning 1", f"/srv/{CANARY}")
    _add_experiment(store, [str(row["id"]) for row in sessions], named)
    save_retro(store, compute_retro(store, WEEK, now_ms=NOW_MS))


class Listener(ThreadingHTTPServer):
    """Takes whatever is posted to it, and answers a list without members."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[bytes] = []
        self.paths: list[str] = []


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
        self.server.paths.append(self.path)
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listen(kind: type[Listener] = Listener) -> Iterator[Listener]:
    """Run a listener beside the test."""
    with kind() as server:
        Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.02}).start()
        yield server
        server.shutdown()


def find_canaries(raw: bytes) -> list[str]:
    """Return the canaries in bytes, however they are spelled there, also inside a Parquet file."""
    readable = [*readings(raw.decode("utf-8", "replace"))]
    if raw[:4] == b"PAR1":
        readable.append(json.dumps(pl.read_parquet(io.BytesIO(raw)).to_dicts()))
    return [CANARY for part in readable if CANARY in part.lower()]


def readings(text: str) -> Iterator[str]:
    """Yield a text as it is, without each kind of escapes, and what base64 hides in it."""
    for run in re.findall(r"[A-Za-z0-9+/]{24,}={0,2}", text):
        whole = run.rstrip("=")
        whole = whole[: len(whole) - (len(whole) % 4 == 1)]
        yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode("utf-8", "replace")
    for _ in range(4):
        yield text
        text = html.unescape(urllib.parse.unquote(text))
        text = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
        text = re.sub(r"<[^<>]*>|\\+|\u00ad|\u200b", "", text)


def text_columns(store: Store) -> list[tuple[str, str]]:
    """Return every column of text in the store, but those that hold words of ours."""
    rows = store.native(
        "select m.name as table_name, c.name as column_name from sqlite_master as m "
        "join pragma_table_info(m.name) as c "
        "where m.type = 'table' and upper(c.type) = 'TEXT' and m.name not like 'sqlite_%' order by 1, 2"
    )
    return [(str(table), str(column)) for table, column in rows if column not in STRUCTURE]


def _session(name: str, number: int) -> dict[str, object]:
    at_ms = START_MS + number * 14_400_000
    columns = ("start_commit", "end_commit", "branch", "prompt_fingerprint", "agent_version", "os", "arch")
    return {
        **{column: f"{CANARY} {column}" for column in columns},
        "id": name,
        "agent": f"{CANARY} agent",
        "model": f"{CANARY} model",
        "workspace": WORKSPACE,
        "started_at_ms": at_ms,
        "ended_at_ms": at_ms + 600_000,
        "status": "Done",
        "trace_path": f"{WORKSPACE}/{CANARY}.jsonl",
        "parent_session_id": f"s{number - 1}-{CANARY}" if number % 6 == 5 else None,
        "repo_binding_source": "",
    }


def _events(name: str, number: int) -> list[dict[str, object]]:
    at_ms = START_MS + number * 14_400_000
    rows: list[tuple[str, str | None, str, dict[str, object]]] = [
        ("Message", None, "", {"role": "user", "prompt": True, "text": text(number)}),
        ("Message", None, "", {"role": "assistant", "model": f"{CANARY} model", "text": text(number)}),
        ("Error", None, "", {"error": text(number)}),
    ]
    for step in range(9):
        for folder, file in (("src", f"{CANARY}.py"), ("web", f"{CANARY}_form.ts")):
            path = f"{WORKSPACE}/{folder}/{file}"
            rows.append(("ToolCall", "Edit", f"{folder}{step}", {"path": path, "input": {"path": path}}))
        rows.append(("ToolCall", f"{CANARY}tool", f"t{step}", {"input": {"text": text(step)}}))
        rows.append(("ToolResult", f"{CANARY}tool", f"t{step}", {"is_error": True, "error": text(step)}))
        rows.append(("ToolCall", "Bash", f"b{step}", {"input": {"command": f"{CANARY}ctl --{CANARY}"}}))
        rows.append(("ToolResult", "Bash", f"b{step}", {"is_error": True, "error": f"unknown flag: --{CANARY}"}))
    rows += [
        ("ToolCall", "Bash", "ok", {"input": {"command": f"{CANARY}ctl {CANARY}"}}),
        ("ToolResult", "Bash", "ok", {"is_error": False, "chars": 10}),
        ("ToolCall", "Read", "r", {"path": f"{WORKSPACE}/src/{CANARY}.md"}),
        ("ToolResult", "Read", "r", {"is_error": False, "chars": 40_000}),
        ("Message", None, "", {"role": "user", "prompt": True, "text": f"commit {CANARY}"}),
        ("Message", None, "", {"role": "assistant", "model": f"{CANARY} model", "text": text(number)}),
    ]
    return [
        {
            "session_id": name,
            "seq": seq,
            "ts_ms": at_ms + 1000 * seq,
            "ts_exact": 1,
            "source": "Tail",
            "kind": kind,
            "tool": tool,
            "tool_call_id": f"{CANARY}-{call}" if call else None,
            "stop_reason": f"{CANARY} stop",
            "payload": json.dumps(payload | {"note": CANARY}),
            "tokens_in": 40_000 + number if payload.get("role") == "assistant" else None,
            "cost_usd_e6": 90_000 if payload.get("role") == "assistant" else None,
        }
        for seq, (kind, tool, call, payload) in enumerate(rows)
    ]


def _add_experiment(store: Store, sessions: list[str], named: str) -> None:
    experiment = make_experiment(
        id=named or f"exp-{CANARY}",
        name=f"Plan first {PEOPLE}" if named else f"=1+1 {text()}",
        hypothesis=f"It helps {PEOPLE}" if named else text(1),
        change_description=f"A brief {PEOPLE}" if named else text(2),
        binding=ManualTag(variant_field=CANARY),
        duration_days=7,
        guardrails=(GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 5.0),),
        created_at_ms=START_MS,
    )
    new_experiment(store, experiment, Plan(planned_n=12, workspaces=(WORKSPACE,)))
    start(store, experiment.id, now_ms=START_MS)
    for arm, chosen in ((Classification.CONTROL, sessions[::2]), (Classification.TREATMENT, sessions[1::2])):
        tag(store, experiment.id, chosen, arm, now_ms=START_MS)
    conclude(store, experiment.id, now_ms=WEEK.end_ms - 1)
