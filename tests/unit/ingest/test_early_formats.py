"""Builds before JSON lines: Codex sessions that are one document, Cursor transcripts that are text."""

from __future__ import annotations

import json

import pytest
from ingest_lines import START_MS, line, lines, write

from kaizen_analytics.ingest.cursor import CursorTextParser
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.records import Agent, Kind

STEM = "rollout-2025-04-17-0c9d7bd2-0000-4000-8000-000000000001"
TEXT = b"""user:
<timestamp>Friday, Jan 2, 2026, 1:20 PM (UTC+2)</timestamp>
<user_query>
fix the build
</user_query>

assistant:
[Thinking] what next
Let me look.
[Tool call] Read
  path: /srv/demo/a.py
  limit: 20
[Tool result] Read

assistant:
[Tool call] Shell
  command: make
[Tool call] ApplyPatch
  *** Begin Patch
  *** Update File: /srv/demo/b.py
  *** End Patch
[Tool result] Shell
  ok
Done: it builds.
"""


def codex_document(*items):
    session = {"id": "old", "timestamp": "2025-04-17T14:50:24.646Z", "instructions": ""}
    return json.dumps({"session": session, "items": items}, indent=2).encode()


def said(role, text):
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def test_a_codex_session_that_is_one_document_is_read(store, tmp_path):
    call = {"type": "function_call", "name": "shell", "call_id": "c1", "arguments": '{"command": ["ls"]}'}
    output = {"type": "function_call_output", "call_id": "c1", "output": '{"metadata": {"exit_code": 1}}'}
    path = write(tmp_path, f".codex/sessions/{STEM}.json", codex_document(said("user", "fix it"), call, output))

    first = run_ingest(store, [tmp_path]).agents[Agent.CODEX]
    path.write_bytes(codex_document(said("user", "fix it"), call, output, said("user", "again")))
    then = run_ingest(store, [tmp_path]).agents[Agent.CODEX]

    assert (first.sessions, first.prompts, first.tool_calls, first.tool_errors, first.rejects) == (1, 1, 1, 1, {})
    assert (then.sessions, then.prompts, then.tool_calls) == (1, 2, 1)
    assert store.native("select id, started_at_ms from sessions") == [("old", "1744901424646")]


def test_messages_without_a_type_are_read(store, tmp_path):
    plain = {"role": "user", "content": "create a file"}
    write(tmp_path, f".codex/sessions/{STEM}.json", codex_document(plain))

    assert run_ingest(store, [tmp_path]).agents[Agent.CODEX].prompts == 1


@pytest.mark.parametrize("content", [b'{\n"session": {\n', b'{"items":\n[]}', b"[1,\n2]", b"\xff\n\xfe"])
def test_a_document_of_another_kind_is_one_reject(store, tmp_path, content):
    write(tmp_path, f".codex/sessions/{STEM}.json", content)

    found = run_ingest(store, [tmp_path]).agents[Agent.CODEX]

    assert (found.sessions, sum(found.rejects.values())) == (0, 1)


def test_other_json_files_are_left_alone(store, tmp_path):
    write(tmp_path, ".codex/sessions/index.json", b"{}")
    write(tmp_path, ".claude/projects/x/sessions-index.json", b"{}")

    assert sum(agent.files for agent in run_ingest(store, [tmp_path]).agents.values()) == 0


def read(content):
    parser = CursorTextParser("s", file_ms=START_MS, slug="srv-demo")
    for text in content.split(b"\n"):
        if text.strip():
            parser.feed(0, text)
    parser.finish()
    return parser.parsed.events


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_cursor_transcript_of_text_is_read(end):
    found = read(TEXT.replace(b"\n", end))

    kinds = [event.kind for event in found]
    assert [kinds.count(kind) for kind in (Kind.MESSAGE, Kind.TOOL_CALL, Kind.TOOL_RESULT)] == [3, 3, 2]
    assert [event.payload["text"] for event in found if event.payload.get("prompt")] == ["fix the build"]
    assert [event.tool for event in found if event.kind is Kind.TOOL_CALL] == ["Read", "Shell", "ApplyPatch"]
    assert [path for event in found for path in event.paths] == ["/srv/demo/a.py", "/srv/demo/b.py"]
    assert {(event.tokens, event.model, event.place.cwd) for event in found} == {(None, None, "/srv/demo")}
    assert {event.ts_ms for event in found} == {1_767_352_800_000}


def test_a_text_without_turns_holds_nothing():
    assert read(b"notes\n[Tool call] Read\n  path: /a\n") == []


def test_a_transcript_that_lies_there_as_text_and_as_lines_counts_once(store, tmp_path):
    folder = ".cursor/projects/srv-demo/agent-transcripts"
    write(tmp_path, f"{folder}/c1.txt", TEXT)
    asked = {"role": "user", "message": {"content": [{"type": "text", "text": "fix the build"}]}}
    write(tmp_path, f"{folder}/c1/c1.jsonl", lines(asked))
    write(tmp_path, f"{folder}/c2.txt", b"user:\nhello" + line({}))

    found = run_ingest(store, [tmp_path]).agents[Agent.CURSOR]

    assert (found.files, found.sessions, found.prompts, found.tool_calls, found.waiting) == (3, 2, 2, 3, 0)
