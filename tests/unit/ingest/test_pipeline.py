"""The incremental run: the store is a function of the files, whatever the order, number or end of the runs."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ingest_lines import (
    START_MS,
    answer,
    call,
    claude_file,
    codex,
    codex_file,
    counts,
    line,
    lines,
    meta,
    prompt,
    result,
    rows,
    token_count,
    turn,
    usage,
    write,
)

from kaizen_analytics.cli import app
from kaizen_analytics.ingest import checkpoints, writing
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.ingest.rows import event_row
from kaizen_analytics.store import Store

CONTENT = {
    "events": "session_id, seq, ts_ms, kind, tool, tokens_in, tokens_out, cost_usd_e6, payload, tool_call_id,"
    " reasoning_tokens, stop_reason, context_used_tokens, cache_creation_tokens, cache_read_tokens",
    "sessions": "id, agent, model, workspace, started_at_ms, ended_at_ms, branch, parent_session_id, agent_version",
    "files_touched": "session_id, path",
    "skills_used": "session_id, skill",
    "ka_files": "path, session_id, stored_as, read_bytes, prefix_hash, last_ms, n_lines, rejects, tally",
    "ka_records": "(select path from ka_files where id = file_id), record, seq, original, tokens",
    "ka_places": "session_id, seq, cwd, branch",
}


def ingest(store, home, **options):
    return run_ingest(store, [home], **options)


def content_of(store):
    return {table: sorted(store.native(f"select {columns} from {table}")) for table, columns in CONTENT.items()}


def total(store, column="tokens_out"):
    return int(store.native(f"select coalesce(sum({column}), 0) from events")[0][0])


def conversation(stem, start_s=0, *, response="m", first=None, count=3):
    """Return the records of a small session: prompt, then responses of two lines with a tool call and its result."""
    records = [prompt(f"{stem}-{response}-p", start_s, session=stem)]
    for n in range(count):
        at, name = start_s + 10 * n + 1, f"{response}{n}"
        told = {"session_id": first} if first else {}
        read = call(f"{name}-t", file_path=f"/repo/demo/{n}.py")
        records += [
            answer(f"{name}-a", at, name, session=stem, tokens=usage(output=1), stop=None) | told,
            answer(f"{name}-b", at + 1, name, read, session=stem, tokens=usage(output=40 + n), stop="tool_use") | told,
            result(f"{name}-r", at + 2, f"{name}-t", session=stem) | told,
        ]
    return records


def renamed(records, stem):
    """Return the records as a fork copies them: everything the same but the session id."""
    return [record | {"sessionId": stem} for record in records]


def rollout(session, n=2):
    totals = [counts(100 * k, 50 * k, 10 * k, 2 * k) for k in range(1, n + 1)]
    turns = [token_count(k, one, counts(100, 50, 10, 2)) for k, one in enumerate(totals, start=1)]
    return lines(meta(session), turn(0.5), codex("event_msg", 0.6, type="user_message", message="go"), *turns)


def test_a_second_run_reads_and_changes_nothing(store, home):
    claude_file(home, "s1", lines(*conversation("s1")))
    codex_file(home, "c1", rollout("c1"))
    ingest(store, home)
    before = content_of(store)

    second = ingest(store, home)

    assert [(s.files, s.files_read, s.sessions) for s in second.agents.values()] == [(1, 0, 1), (1, 0, 1), (0, 0, 0)]
    assert content_of(store) == before
    ingest(store, home, full=True)
    assert content_of(store) == before


def test_a_session_written_in_slices_is_as_one_written_at_once(store, home, tmp_path, monkeypatch):
    moved = [record | {"gitBranch": f"b{n // 3}"} for n, record in enumerate(conversation("s1", count=5))]
    path = claude_file(home, "s1", lines(*moved))
    claude_file(home, "fork", lines(*renamed(moved[:9], "fork"), *conversation("fork", 500, response="n")))
    codex_file(home, "c1", rollout("c1", 8))
    digests = "select id, digest from ka_digests order by id"
    with Store.open(tmp_path / "sliced.db", create=True) as sliced:
        for content in (path.read_bytes(), lines(*moved[:6], *conversation("s1", 900, response="o"))):
            path.write_bytes(content)
            ingest(store, home)
            with monkeypatch.context() as patch:
                patch.setattr(writing, "_SLICE", 4)
                ingest(sliced, home)

            assert content_of(sliced) == content_of(store)
            assert sliced.native(digests) == store.native(digests)
    assert int(rows(store, "select count(*) from ka_places")[0][0]) > 5


def test_a_response_whose_lines_arrive_in_two_runs_is_completed(store, home):
    first = answer("a", 1, "m1", {"type": "thinking", "thinking": ""}, tokens=usage(output=1), stop=None)
    second = answer("b", 2, "m1", {"type": "text", "text": "hi"}, tokens=usage(output=50), stop="end_turn")
    path = claude_file(home, "s1", line(first))
    ingest(store, home)
    path.write_bytes(lines(first, second))

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    [(tokens, stop, payload)] = rows(store, "select tokens_out, stop_reason, payload from events")
    assert (tokens, stop, json.loads(payload)["text"]) == ("50", "end_turn", "hi")
    assert (summary.tokens["tokens_out"], summary.unreliable_responses, summary.responses) == (50, 0, 1)


@pytest.mark.parametrize("whole", [0, 2])
def test_a_torn_last_line_waits_for_its_rest(store, home, whole):
    content = lines(*conversation("s1"))
    path = claude_file(home, "s1", lines(*conversation("s1")[:whole]) or content[:-20])
    if whole:  # and nothing but the beginning of a line came since
        ingest(store, home)
        path.write_bytes(path.read_bytes() + b'{"type":')
    assert ingest(store, home).agents[Agent.CLAUDE_CODE].waiting == 1
    path.write_bytes(content)

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert (summary.waiting, summary.tool_results, summary.rejects) == (0, 3, {})


def test_a_file_that_was_only_touched_is_not_written_again(store, home):
    path = claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    first_ids = rows(store, "select id from events order by id")
    os.utime(path, ns=(1, 1))

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert (summary.new_events, summary.events) == (0, 10)
    assert rows(store, "select id from events order by id") == first_ids


@pytest.mark.parametrize("agent", ["claude", "codex"])
@pytest.mark.parametrize("rest", [0, 0.5])
def test_what_a_file_lost_stays_and_is_counted(store, home, agent, rest):
    content = lines(*conversation("s1")) if agent == "claude" else rollout("s1", 6)
    path = claude_file(home, "s1", content) if agent == "claude" else codex_file(home, "s1", content)
    ingest(store, home)
    content_sql = "select seq, ts_ms, kind, tokens_in, tokens_out, payload from events order by seq"
    before = rows(store, content_sql)
    path.write_bytes(content[: content.rindex(b"\n", 0, int(len(content) * rest)) + 1] if rest else b"")

    summaries = [ingest(store, home).agents.values() for _ in range(2)]

    assert rows(store, content_sql) == before
    for summary in summaries:
        kept = sum(agent.kept_events for agent in summary)
        assert kept == len(before) if rest == 0 else 0 < kept < len(before)
    path.write_bytes(content)
    assert sum(agent.kept_events for agent in ingest(store, home).agents.values()) == 0
    assert rows(store, content_sql) == before


def test_a_record_that_is_there_with_other_numbers_replaces_its_former_self(store, home):
    path = claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    path.write_bytes(path.read_bytes().replace(b'"output_tokens": 40', b'"output_tokens": 44'))

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert rows(store, "select tokens_out from events where tokens_out is not null") == [("44",), ("41",), ("42",)]
    assert (summary.kept_events, summary.new_events) == (0, 0)


def test_a_file_that_was_overwritten_adds_to_what_it_held(store, home):
    path = claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    path.write_bytes(lines(*conversation("s1", 900, response="n", count=1)))

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert (summary.prompts, summary.kept_prompts, summary.kept_events, summary.new_events) == (2, 1, 10, 4)
    assert rows(store, "select min(seq), max(seq), count(*) from events") == [("0", "13", "14")]
    assert rows(store, "select count(*) from files_touched") == [("3",)]


def test_a_file_that_is_gone_is_counted_as_living_in_the_store_alone(store, home):
    path = claude_file(home, "s1", lines(*conversation("s1")))
    claude_file(home, "s2", lines(*conversation("s2", response="n")))
    ingest(store, home)
    path.unlink()

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert (summary.sessions, summary.kept_sessions, summary.kept_events) == (1, 1, 10)


def test_events_that_vanished_from_the_store_are_read_again(store, home):
    claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    before = content_of(store)
    with store.write():
        store.native("delete from events where seq > 4 returning 1")

    assert ingest(store, home).agents[Agent.CLAUDE_CODE].new_events == 5
    assert content_of(store) == before


def test_events_that_vanished_and_cannot_be_read_again_are_named(store, home):
    claude_file(home, "s1", lines(*conversation("s1"))).rename(home / "s1")
    (home / "s1").rename(path := home / ".claude/projects/-work-demo/s1.jsonl")
    ingest(store, home)
    path.unlink()
    with store.write():
        store.native("delete from events where seq > 4 returning 1")

    [warning] = ingest(store, home).warnings

    assert "1 sessions lost events that were stored, and their files are gone: s1" in warning


def test_a_source_that_vanishes_keeps_its_rows(store, home):
    path = claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    before = content_of(store)
    path.unlink()

    ingest(store, home)

    assert content_of(store) == before


def test_a_session_is_described_by_its_own_records(store, home):
    claude_file(home, "s1", lines(*conversation("s1", start_s=100)))
    claude_file(home, "agent-a", lines(*conversation("s1", 105, response="x", count=1)), slug="-work-demo/s1/subagents")

    ingest(store, home)

    found = rows(
        store, "select id, model, workspace, branch, started_at_ms, parent_session_id from sessions order by id"
    )
    model = "claude-sonnet-4-5-20250929"
    assert found == [
        ("agent-a", model, "/repo/demo", "main", str(START_MS + 106_000), "s1"),
        ("s1", model, "/repo/demo", "main", str(START_MS + 100_000), None),
    ]


def test_copied_history_counts_once_and_stays_with_the_file_it_was_written_to(store, home):
    original = conversation("s1")
    claude_file(home, "zz-fork", lines(*renamed(original, "zz-fork"), *conversation("zz-fork", 500, response="n")))
    claude_file(home, "s1", lines(*original))

    ingest(store, home)

    owners = rows(store, "select session_id, count(*) from events where kind = 'Message' group by 1 order by 1")
    assert owners == [("s1", "4"), ("zz-fork", "4")]


def test_the_session_that_a_record_names_owns_it_even_when_it_went_on_for_longer(store, home):
    original = conversation("s1", first="s1")
    claude_file(home, "a-fork", lines(*renamed(original, "a-fork")))
    claude_file(home, "s1", lines(*original, *conversation("s1", 900, response="n")))

    ingest(store, home)

    responses = rows(
        store, "select session_id, count(*) from events where tokens_out is not null group by 1 order by 1"
    )
    assert responses == [("s1", "6")]


def test_the_largest_usage_over_all_copies_counts(store, home):
    whole = conversation("s1", count=1)
    claude_file(home, "s1", lines(*whole[:2]))
    claude_file(home, "fork", lines(*renamed(whole, "fork"), prompt("later", 900, session="fork")))

    ingest(store, home)

    assert rows(store, "select session_id, tokens_out from events where tokens_out is not null") == [("s1", "40")]


def test_a_side_question_does_not_count_its_parents_history(store, home):
    history = conversation("s1")
    copied = [record | {"isSidechain": True, "agentId": "aside_question-1"} for record in history]
    claude_file(home, "agent-aside_question-1", lines(*copied), slug="-work-demo/s1/subagents")
    claude_file(home, "s1", lines(*history))

    ingest(store, home)

    assert rows(store, "select distinct session_id from events") == [("s1",)]


def test_an_owner_that_turns_up_later_takes_its_records(store, home):
    original = conversation("s1")
    claude_file(home, "fork", lines(*renamed(original, "fork"), *conversation("fork", 500, response="n")))
    ingest(store, home)
    before = total(store)
    claude_file(home, "s1", lines(*original))

    assert ingest(store, home).new_events == 0

    assert total(store) == before
    assert rows(store, "select count(*) from events where session_id = 's1'") == [("10",)]
    assert rows(store, "select seq from events where session_id = 'fork' order by seq")[0] == ("0",)


def test_a_vanished_owner_keeps_its_records_when_a_copy_turns_up(store, home):
    original = conversation("s1")
    path = claude_file(home, "s1", lines(*original))
    ingest(store, home)
    path.unlink()
    claude_file(home, "a-fork", lines(*renamed(original, "a-fork")))

    ingest(store, home)

    assert rows(store, "select distinct session_id from events") == [("s1",)]


def test_active_and_archived_copies_count_once(store, home):
    codex_file(home, "c1", rollout("c1", 3))
    codex_file(home, "c1", rollout("c1", 2), folder="archived_sessions")

    ingest(store, home)

    assert total(store, "tokens_in") == 150


def test_a_session_that_was_archived_between_two_runs_counts_once(store, home):
    path = codex_file(home, "c1", rollout("c1", 2))
    ingest(store, home)
    path.unlink()
    codex_file(home, "c1", rollout("c1", 3), folder="archived_sessions")

    ingest(store, home)

    assert total(store, "tokens_in") == 150
    assert rows(store, "select count(*) from sessions") == [("1",)]


def test_only_the_workspace_that_was_asked_for_is_taken(store, home):
    claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home, workspace=Path("/repo/other"))
    assert rows(store, "select count(*) from sessions") == [("0",)]

    ingest(store, home, workspace=Path("/repo"))

    assert rows(store, "select id from sessions") == [("s1",)]


def test_old_files_and_other_agents_are_left_out(store, home):
    old = claude_file(home, "s1", lines(*conversation("s1")))
    os.utime(old, (1, 1))
    codex_file(home, "c1", rollout("c1"))

    summary = ingest(store, home, since_ms=START_MS, agents=[Agent.CLAUDE_CODE])

    assert list(summary.agents) == [Agent.CLAUDE_CODE]
    assert summary.agents[Agent.CLAUDE_CODE].files == 0


def test_an_unknown_model_leaves_the_cost_open_and_is_named(store, home):
    claude_file(home, "s1", line(answer("a", 1, "m1", model="claude-nobody-9")))

    summary = ingest(store, home)

    assert rows(store, "select cost_usd_e6 from events") == [(None,)]
    assert summary.agents[Agent.CLAUDE_CODE].unknown_models == {"claude-nobody-9": 1}
    assert any("claude-nobody-9" in warning for warning in summary.warnings)


def test_rejected_lines_are_stored_and_counted_by_reason(store, home):
    claude_file(home, "s1", line(prompt("a", 1)) + b"nonsense\n[1]\n" + line(prompt("b", 2) | {"cwd": 7}))

    summary = ingest(store, home).agents[Agent.CLAUDE_CODE]

    assert summary.rejects == {"not_json": 1, "not_an_object": 1, "wrong_type": 1}
    assert rows(store, "select line, reason, detail from ka_rejects order by line") == [
        ("2", "not_json", ""),
        ("3", "not_an_object", ""),
        ("4", "wrong_type", "cwd"),
    ]


def test_a_source_that_cannot_be_read_is_named_and_the_others_are_read(store, home):
    claude_file(home, "s1", lines(*conversation("s1")))
    write(home, ".config/Cursor/User/globalStorage/state.vscdb", b"not a database, much longer than sixteen bytes")

    summary = ingest(store, home)

    assert summary.agents[Agent.CURSOR].unreadable == 1
    assert summary.agents[Agent.CLAUDE_CODE].sessions == 1


def test_the_conversations_of_a_cursor_database_are_read_once(store, home):
    folder = home / ".config/Cursor/User/workspaceStorage/h"
    folder.mkdir(parents=True)
    (folder / "workspace.json").write_text('{"folder": "file:///repo/my%20demo"}')
    composer = {"composerId": "c1", "createdAt": START_MS, "conversation": [{"type": 1, "text": "hi"}]}
    newer = {"composerId": "c2", "createdAt": START_MS, "fullConversationHeadersOnly": [{"bubbleId": "b1"}]}
    script = (
        "import sqlite3,sys,json; c=sqlite3.connect(sys.argv[1])\n"
        "c.execute('create table ItemTable (key TEXT UNIQUE, value BLOB)')\n"
        "c.execute('create table cursorDiskKV (key TEXT UNIQUE, value BLOB)')\n"
        "c.execute('insert into ItemTable values (?,?)', ('composer.composerData', sys.argv[2]))\n"
        "c.execute('insert into ItemTable values (?,?)', ('cursorAuth/token', 'never'))\n"
        "c.executemany('insert into cursorDiskKV values (?,?)', json.loads(sys.argv[3])); c.commit()"
    )
    bubble = {"bubbleId": "b1", "type": 2, "text": "yes", "tokenCount": {"inputTokens": 0, "outputTokens": 0}}
    pairs = [["composerData:c2", json.dumps(newer)], ["bubbleId:c2:b1", json.dumps(bubble)]]
    database = str(folder / "state.vscdb")
    first = json.dumps({"allComposers": [composer]})
    subprocess.run([sys.executable, "-c", script, database, first, json.dumps(pairs)], check=True)

    read = ingest(store, home).agents[Agent.CURSOR]
    again = ingest(store, home).agents[Agent.CURSOR]

    assert rows(store, "select session_id, tokens_in from events order by 1") == [("c1", None), ("c2", None)]
    assert {workspace for (workspace,) in rows(store, "select workspace from sessions")} == {"/repo/my demo"}
    assert (read.files, read.files_read, read.databases, read.conversations) == (1, 1, 1, 2)
    assert (again.files_read, again.sessions) == (0, 2)


RUN = """
import sys
from pathlib import Path
from kaizen_analytics.ingest import pipeline
from kaizen_analytics.store import Store
pipeline._BATCH_FILES = 3
with Store.open(sys.argv[1], create=True) as store:
    pipeline.run_ingest(store, [Path(sys.argv[2])])
"""


def start(store_path, home):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(store_path), str(home)], env=os.environ | {"PYTHONPATH": "."}
    )


@pytest.mark.slow
def test_killed_runs_lose_nothing_and_double_nothing(tmp_path, home):
    for n in range(30):
        claude_file(home, f"s{n}", lines(*conversation(f"s{n}", response=f"r{n}-", count=4)))
        if n % 5 == 0:
            copied = renamed(conversation(f"s{n}", response=f"r{n}-", count=2), f"f{n}")
            claude_file(home, f"f{n}", lines(*copied))
    path = tmp_path / "killed.db"
    for attempt in range(6):
        process = start(path, home)
        time.sleep(0.25 + attempt * 0.14)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(path, home).wait() == 0

    with Store.open(path) as killed, Store.open(tmp_path / "once.db", create=True) as once:
        ingest(once, home)
        assert content_of(killed) == content_of(once)


@pytest.mark.slow
def test_two_runs_at_once_do_no_harm(tmp_path, home):
    for n in range(20):
        claude_file(home, f"s{n}", lines(*conversation(f"s{n}", response=f"r{n}-", count=4)))
    path = tmp_path / "both.db"

    ends = [process.wait() for process in [start(path, home) for _ in range(2)]]

    assert ends == [0, 0]
    with Store.open(path) as both, Store.open(tmp_path / "once.db", create=True) as once:
        ingest(once, home)
        assert content_of(both) == content_of(once)


def test_a_new_parser_reads_every_file_again(store, home, monkeypatch):
    claude_file(home, "s1", lines(*conversation("s1")))
    ingest(store, home)
    newer = checkpoints.PARSER_VERSION + 1
    for module in ("checkpoints", "reading", "writing"):
        monkeypatch.setattr(f"kaizen_analytics.ingest.{module}.PARSER_VERSION", newer)

    assert ingest(store, home).agents[Agent.CLAUDE_CODE].files_read == 1
    assert ingest(store, home).agents[Agent.CLAUDE_CODE].files_read == 0


def compressed(content, kind="zstd"):
    import pyarrow as pa

    return gzip.compress(content) if kind == "gz" else pa.Codec(kind).compress(content, asbytes=True)


def test_a_compressed_rollout_is_read(store, home):
    write(home, ".codex/sessions/2026/01/01/rollout-c1.jsonl.zst", compressed(rollout("c1", 3)))

    summary = ingest(store, home).agents[Agent.CODEX]

    assert (summary.sessions, summary.responses, summary.waiting) == (1, 3, 0)
    assert rows(store, "select id from sessions") == [("c1",)]
    assert ingest(store, home).agents[Agent.CODEX].files_read == 0


def test_a_rollout_that_was_compressed_since_counts_once(store, home):
    path = codex_file(home, "c1", rollout("c1", 3))
    ingest(store, home)
    before = rows(store, "select session_id, seq, tokens_in, payload from events order by 1, 2")
    path.with_name(path.name + ".zst").write_bytes(compressed(path.read_bytes()))
    path.unlink()

    ingest(store, home)
    ingest(store, home)

    assert rows(store, "select session_id, seq, tokens_in, payload from events order by 1, 2") == before
    assert len(before) == 4


@pytest.mark.parametrize("kind", ["zstd", "gz"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_transcript_that_somebody_compressed_is_the_session(store, home, kind, beside):
    content = lines(prompt("u1", 0), answer("a1", 1, "msg_01"))
    write(home, f".claude/projects/-w/s1.jsonl.{kind[:3]}", compressed(content, kind))
    if beside:
        claude_file(home, "s1", content + line(prompt("u2", 2)), slug="-w")
    ingest(store, home)

    assert rows(store, "select session_id, count(*) from events group by 1") == [("s1", "3" if beside else "2")]


def test_a_damaged_compressed_rollout_is_named(store, home):
    write(home, ".codex/sessions/2026/01/01/rollout-c1.jsonl.zst", compressed(rollout("c1", 3))[:60])

    summary = ingest(store, home)

    assert summary.agents[Agent.CODEX].unreadable == 1
    assert "rollout-c1.jsonl.zst cannot be read" in summary.warnings[0]


def test_calls_that_other_models_number_alike_count_in_each_session(store, home):
    for stem in ("s1", "s2"):
        claude_file(home, stem, lines(answer(f"a-{stem}", 1, f"m-{stem}", call("functions.Bash:0"), session=stem)))

    summary = ingest(store, home)

    assert summary.agents[Agent.CLAUDE_CODE].tool_calls == 2


def test_kinds_of_records_that_are_not_known_are_told_whichever_run_read_them(store, home):
    path = claude_file(home, "s1", lines({"type": "brand-new"}, answer("a1", 1, "m1")))
    codex_file(home, "r1", lines(meta("r1"), codex("brand_new", 1), codex("event_msg", 2, type="user_message")))
    write(home, ".cursor/projects/x/agent-transcripts/c/c.jsonl", lines({"type": "brand_new"}))
    ingest(store, home)
    path.write_bytes(path.read_bytes() + line({"type": "brand-new"}))

    found = ingest(store, home).to_json()["agents"]

    assert {name: agent["unknown_kinds"] for name, agent in found.items()} == {
        "claude_code": {"brand-new": 2},
        "codex": {"brand_new": 1},
        "cursor": {"brand_new": 1},
    }


def test_the_command_names_the_kinds_it_does_not_know_the_most_frequent_first(home, tmp_path, capsys):
    claude_file(home, "s1", lines({"type": "a-new"}, {"type": "b-new"}, {"type": "b-new"}, answer("a1", 1, "m1")))

    with pytest.raises(SystemExit, match="0"):
        app(["ingest", "--home", str(home), "--store", str(tmp_path / "store.db")])

    told = "claude_code: 3 records of a kind that is not known were not counted: b-new (2), a-new (1)"
    assert told in capsys.readouterr().out


def test_a_response_whose_usage_could_be_read_only_later_counts_as_if_read_at_once(store, home, tmp_path):
    broken = answer("a1", 1, "m1", tokens=usage() | {"input_tokens": -1})
    path = claude_file(home, "s1", lines(prompt("u1", 0), broken))
    ingest(store, home)
    path.write_bytes(path.read_bytes() + lines(answer("a2", 2, "m1")))
    ingest(store, home)

    with Store.open(tmp_path / "once.db", create=True) as once:
        ingest(once, home)
        assert content_of(store) == content_of(once)


@pytest.mark.parametrize("where", ["codex.CodexParser._record", "writing.event_row"])
@pytest.mark.parametrize("fault", [TypeError, KeyError])
def test_a_file_on_which_the_program_fails_costs_no_other(home, tmp_path, monkeypatch, capsys, where, fault):
    claude_file(home, "s1", lines(*conversation("s1")))
    codex_file(home, "c1", rollout("c1"))

    def fail(*given):
        if where.endswith("_record") or given[0] == "c1":
            raise fault("unforeseen")
        return event_row(*given)

    monkeypatch.setattr(f"kaizen_analytics.ingest.{where}", fail)

    with pytest.raises(SystemExit, match="1"):
        app(["ingest", "--home", str(home), "--store", str(tmp_path / "store.db")])

    told = capsys.readouterr()
    assert "rollout-c1.jsonl was left out" in told.err
    assert "10 new events" in told.out


@pytest.mark.parametrize(
    ("encoding", "command"), [("ascii", ["sessions", "list"]), ("cp1252", ["sessions", "show", "s1", "--json"])]
)
def test_what_the_terminal_cannot_show_is_escaped(home, tmp_path, encoding, command):
    told = prompt("a", 1, "fix the \U0001f680 — 日本語") | {"gitBranch": "feat/日本"}
    claude_file(home, "s1", lines(told, answer("b", 2, "m1") | {"gitBranch": "feat/日本"}))
    with Store.open(tmp_path / "store.db", create=True) as store:
        ingest(store, home)
    full = [sys.executable, "-m", "kaizen_analytics", *command, "--store", str(tmp_path / "store.db")]

    run = subprocess.run(full, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}, check=True)

    shown = run.stdout.decode(encoding)
    if "--json" in command:
        assert "\U0001f680" in str(json.loads(shown))
    else:
        assert "feat/\\u65e5\\u672c" in shown
