"""`sessions search`, `annotate` and `show --tree` on sessions that a reader can check by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rows import write_rows

from kaizen_analytics.exports.tables import export_table
from kaizen_analytics.reports.sharing import prepare_share
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable

START_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with a sub-agent that has one of its own; the first runs three commands."""
    sessions = [
        {"id": "root", "agent": "codex", "started_at_ms": START_MS, "ended_at_ms": START_MS + 90_000},
        {"id": "child", "agent": "codex", "started_at_ms": START_MS + 1, "parent_session_id": "root"},
        {"id": "grandchild", "agent": "codex", "started_at_ms": START_MS + 2, "parent_session_id": "child"},
    ]
    rows = [
        ("root", "Message", None, None, {"role": "user", "prompt": True, "text": "Mend the FLAKY test"}, 0),
        ("root", "ToolCall", "exec", "c1", {"input": {"command": "pytest tests/flaky.py"}}, 1_000),
        ("root", "ToolResult", "exec", "c1", {"is_error": True, "error": "1 failed"}, 3_500),
        ("root", "ToolCall", "exec", "c2", {"input": {"cmd": "ls"}}, 4_000),
        ("root", "ToolCall", "edit", "c3", {"path": "/w/flaky.py"}, 5_000),
        ("child", "Message", None, None, {"role": "assistant", "text": "done"}, 6_000),
        ("grandchild", "Message", None, None, {"role": "assistant"}, 7_000),
    ]
    used = {"child": {"tokens_in": 100, "tokens_out": 20, "cost_usd_e6": 500_000}, "grandchild": {"tokens_in": 7}}
    names = ("session_id", "kind", "tool", "tool_call_id")
    events = [
        {**dict(zip(names, row, strict=False)), "payload": json.dumps(row[4]), "ts_ms": START_MS + row[5]}
        | used.get(row[0], {})
        for row in rows
    ]
    path = tmp_path_factory.mktemp("filled") / "store.db"
    with Store.open(path, create=True, journal_mode="DELETE") as store:
        write_rows(store, sessions, events)
    return path


@pytest.fixture
def path(_filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(_filled, tmp_path / "store.db"))


@pytest.fixture
def run(path: Path, program: Callable[..., Any]) -> Callable[..., tuple[int, str, str]]:
    return lambda *arguments: astuple(program("sessions", *arguments, "--store", path))


Run = "Callable[..., tuple[int, str, str]]"


def test_a_tree_shows_what_each_agent_and_tool_took(run: Run) -> None:
    code, out, _ = run("show", "root", "--tree")
    assert (code, out.splitlines()) == (
        0,
        [
            "root  codex  1.5 min",
            "├─ exec: 2 calls, 1 failed, 2.5 s",
            "├─ edit: 1 call",
            "└─ child  codex  120 tokens  $0.50",
            "   └─ grandchild  codex  7 tokens",
        ],
    )
    assert json.loads(run("show", "root", "--tree", "--json")[1])["children"][0]["children"][0]["new_tokens"] == 7


def test_a_result_that_stands_twice_is_one_call(path: Path) -> None:
    with Store.open(path) as store, store.write():
        copied = "session_id, ts_ms, kind, source, tool, tool_call_id, payload, ts_exact"
        store.native(f"insert into events (seq, {copied}) select 99, {copied} from events where seq = 2 returning 1")
    with Store.open(path, read_only=True) as store:
        assert read_tree(store, "root").tools[0] == ("exec", 2, 1, 2.5)


def test_parents_in_a_circle_end(path: Path) -> None:
    with Store.open(path) as store, store.write():
        store.native("update sessions set parent_session_id = ? where id = ? returning 1", "grandchild", "root")
    with Store.open(path, read_only=True) as store:
        assert read_tree(store, "root").children[0].children[0].children == ()


def test_a_text_is_found_in_prompts_commands_and_paths(run: Run) -> None:
    found = json.loads(run("search", "Flaky", "--json")[1])["matches"]
    assert [(row["session_id"], row["place"]) for row in found] == [
        ("root", "prompt"),
        ("root", "command"),
        ("root", "path"),
    ]
    assert "3 places in 1 session" in run("search", "flaky")[1]
    assert "0 places in 0 sessions" in run("search", "nowhere")[1]
    assert run("search", " ")[0] == 2


def test_a_shared_search_is_redacted(run: Run, path: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    with Store.open(path) as store, store.write():
        payload = json.dumps({"input": {"command": f"curl -H 'Authorization: Bearer {secret}' x"}})
        store.native("update events set payload = ? where seq = 3 returning 1", payload)
    assert secret in run("search", "curl", "--json")[1]
    shared = run("search", "curl", "--json", "--share")[1]
    assert secret not in shared
    with Store.open(path, read_only=True) as store:
        exported = export_table(store, "sessions", prepare_share([path]).redactor, now_ms=0).frame
    assert {row["session_id"] for row in json.loads(shared)["matches"]} <= set(exported["session"])
    assert json.loads(shared)["matches"]


def test_judgements_are_kept_beside_each_other(run: Run, path: Path) -> None:
    assert run("annotate", "root", "--score", "2", "--label", "bad")[0] == 0
    assert run("annotate", "roo", "--note", "again")[0] == 0
    with Store.open(path, read_only=True) as store:
        rows = store.native("select session_id, score, label, note from session_feedback order by created_at_ms, id")
    assert sorted(rows, key=str) == sorted([("root", "2", "bad", None), ("root", None, None, "again")], key=str)


@pytest.mark.parametrize("arguments", [(), ("--score", "6"), ("--label", "fine")])
def test_a_judgement_that_says_nothing_or_too_much_is_refused(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("annotate", "root", *arguments)[0] == 2
    assert run("annotate", "nobody", "--score", "3")[0] == 2


@pytest.mark.parametrize("command", [("sessions", "list"), ("sessions", "instructions"), ("usage",), ("metrics",)])
def test_a_store_without_sessions_says_how_to_read_some(
    command: tuple[str, ...], tmp_path: Path, program: Callable[..., Any]
) -> None:
    with Store.open(tmp_path / "empty.db", create=True):
        pass
    assert "read them with 'kaizen-analytics ingest'" in program(*command, "--store", tmp_path / "empty.db").out
