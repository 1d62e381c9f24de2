"""Where Cursor keeps sessions, and which folder they belong to: the window's databases and the command line's."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ingest_lines import START_MS, answer, claude_file, iso, lines, prompt, rows, write
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.ingest.pipeline import run_ingest

USER = ".config/Cursor/User"


def make_state(path, *, listed=(), conversations=(), log=False):
    """Write a `state.vscdb` with a list of composers and conversations of two bubbles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    if log:
        connection.execute("pragma journal_mode = wal")
    connection.execute("create table ItemTable (key text unique, value blob)")
    connection.execute("create table cursorDiskKV (key text unique, value blob)")
    listing = json.dumps({"allComposers": [{"composerId": name} for name in listed]})
    connection.execute("insert into ItemTable values ('composer.composerData', ?)", [listing])
    for name in conversations:
        heads = [{"bubbleId": "b1", "type": 1}, {"bubbleId": "b2", "type": 2}]
        composer = {"composerId": name, "createdAt": START_MS, "fullConversationHeadersOnly": heads}
        bubbles = [
            {"bubbleId": "b1", "type": 1, "text": "go", "createdAt": iso(0)},
            {"bubbleId": "b2", "type": 2, "text": "ok", "createdAt": iso(5)}
            | {"tokenCount": {"inputTokens": 10, "outputTokens": 5}},
        ]
        pairs = [(f"composerData:{name}", composer), *((f"bubbleId:{name}:{b['bubbleId']}", b) for b in bubbles)]
        connection.executemany("insert into cursorDiskKV values (?, ?)", [(k, json.dumps(v)) for k, v in pairs])
    connection.commit()
    return connection


FORMS = [
    ({"folder": "file:///home/dev/my%20repo"}, "/home/dev/my repo"),
    ({"folder": "file:///home/dev/repo/"}, "/home/dev/repo"),
    ({"folder": "file:///c%3A/Users/dev/repo"}, "C:/Users/dev/repo"),
    ({"folder": "vscode-remote://ssh-remote%2Bhost/srv/repo"}, "/srv/repo"),
    ({"folder": "vscode-remote://wsl%2Bubuntu/home/dev/repo"}, "/home/dev/repo"),
    ({"folder": "vscode-remote://dev-container%2B7b22/workspaces/repo"}, "/workspaces/repo"),
    ({"folder": "vscode-remote://ssh-remote%2Bhost/c%3A/src/repo"}, "C:/src/repo"),
    ({"folder": "file:///D:/src/repo"}, "D:/src/repo"),
    ({"folder": "file:///home/dev/d%C3%A9mo%231"}, "/home/dev/d\u00e9mo#1"),
    ({"folder": "file://server/share/repo"}, "//server/share/repo"),
    ({"folder": "file://wsl.localhost/Ubuntu/home/dev/repo"}, "/home/dev/repo"),
]


def test_a_conversation_of_the_window_belongs_to_the_folder_that_lists_it(store, home):
    for number, (told, _) in enumerate(FORMS):
        storage = home / USER / f"workspaceStorage/h{number}"
        make_state(storage / "state.vscdb", listed=[f"c{number:02}"]).close()
        (storage / "workspace.json").write_text(json.dumps(told))
    names = [f"c{number:02}" for number in range(len(FORMS) + 1)]
    make_state(home / USER / "globalStorage/state.vscdb", conversations=names).close()

    run_ingest(store, [home])

    found = [str(folder) for (folder,) in rows(store, "select workspace from sessions order by id")]
    assert found == [*(folder for _, folder in FORMS), ""]


LISTS = [
    ('{"folders": [{"path": "app"}, {"path": "docs"}]}', "{parent}/cfg/app"),
    ('{"folders": [{"path": "../app"}]}', "{parent}/app"),
    ('{"folders": [{"path": "C:\\\\src\\\\app"}]}', "C:/src/app"),
    ('{"folders": [{"uri": "vscode-remote://ssh-remote%2Bh/srv/app"}]}', "/srv/app"),
    ('{\n  // mine\n  "folders": [\n    {"path": "a//b"}, /* old: */\n  ],\n}', "{parent}/cfg/a/b"),
    ("no list", "{parent}/cfg"),
]


def test_several_folders_that_are_open_together_are_known_by_the_first(store, home, tmp_path):
    for number, (text, _) in enumerate(LISTS):
        listing = write(tmp_path, f"cfg/{number}.code-workspace", text.encode())
        storage = home / USER / f"workspaceStorage/h{number}"
        make_state(storage / "state.vscdb", listed=[f"c{number}"]).close()
        (storage / "workspace.json").write_text(json.dumps({"workspace": listing.as_uri()}))
    names = [f"c{number}" for number in range(len(LISTS))]
    make_state(home / USER / "globalStorage/state.vscdb", conversations=names).close()

    run_ingest(store, [home])

    found = [folder for (folder,) in rows(store, "select workspace from sessions order by id")]
    assert found == [folder.format(parent=tmp_path) for _, folder in LISTS]


TOLD = [
    ({"uri": {"fsPath": "c:\\dev\\app", "path": "/c:/dev/app", "scheme": "file"}}, "C:/dev/app"),
    ({"uri": {"external": "vscode-remote://ssh-remote%2Bh/srv/my%20app"}}, "/srv/my app"),
    ({"configPath": {"fsPath": "/gone/team.code-workspace"}}, "/gone"),
    ({"id": "no folder was open"}, ""),
    (7, ""),
]


@pytest.mark.parametrize("place", ["composer.composerHeaders", "composerHeaders", "composerData:"])
def test_from_cursor_3_on_a_conversation_names_its_folder(store, home, place):
    names = [f"c{number}" for number in range(len(TOLD))]
    items = [{"composerId": name, "workspaceIdentifier": told} for name, (told, _) in zip(names, TOLD, strict=True)]
    with closing(make_state(home / USER / "globalStorage/state.vscdb", conversations=names)) as cursor:
        if place == "composerHeaders":
            cursor.execute("create table composerHeaders (composerId text, value text)")
            cursor.executemany("insert into composerHeaders values ('', ?)", [[json.dumps(item)] for item in items])
        elif place == "composer.composerHeaders":
            cursor.execute("insert into ItemTable values (?, ?)", [place, json.dumps({"allComposers": [*items, 7]})])
        else:
            update = "update cursorDiskKV set value = json_set(value, '$.workspaceIdentifier', json(?)) where key = ?"
            told = [(json.dumps(item["workspaceIdentifier"]), place + item["composerId"]) for item in items]
            cursor.executemany(update, told)
        cursor.commit()

    run_ingest(store, [home])

    found = [str(folder) for (folder,) in rows(store, "select workspace from sessions order by id")]
    assert found == [folder for _, folder in TOLD]


@pytest.mark.parametrize("at_ms", [10**15, 9 * 10**18, -(10**14)])
def test_a_time_beyond_the_calendar_in_a_store_stops_no_command(tmp_path, home, at_ms):
    claude_file(home, "s1", lines(prompt("u1", 0), answer("a1", 1, "msg_01")))
    path = tmp_path / "cli.db"
    CliRunner().invoke(app, ["ingest", "--home", str(home), "--store", str(path)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update sessions set started_at_ms = ?, ended_at_ms = ?", [at_ms, at_ms])
        connection.execute("update events set ts_ms = ?", [at_ms])
        connection.commit()

    for words in (
        "sessions list",
        "sessions show s1",
        "sessions search please",
        "usage",
        "usage --by window",
        "prices",
    ):
        done = CliRunner().invoke(app, [*words.split(), "--store", str(path)])
        assert (done.exit_code, done.exception) == (0, None), f"{words}: {done.output}"


@pytest.mark.parametrize("told", [START_MS * 1000, 2**53])
def test_a_time_beyond_all_calendars_is_none_and_stops_no_command(tmp_path, home, told):
    path = home / USER / "globalStorage/state.vscdb"
    with closing(make_state(path, conversations=["c1"])) as cursor:
        cursor.execute(
            "update cursorDiskKV set value = json_set(value, '$.createdAt', ?, '$.lastUpdatedAt', ?)", [told, told]
        )
        cursor.commit()
    os.utime(path, (300_000_000_000,) * 2)
    transcript(home, "t1")
    os.utime(next(home.rglob("t1.jsonl")), (300_000_000_000,) * 2)
    store = ["--store", str(tmp_path / "cli.db")]

    for words in (["ingest", "--home", str(home)], ["sessions", "list"], ["sessions", "show", "c1"], ["usage"]):
        done = CliRunner().invoke(app, [*words, *store])
        assert (done.exit_code, done.exception) == (0, None), f"{words}: {done.output}"


def test_only_the_wanted_folders_conversations_are_taken(store, home):
    storage = home / USER / "workspaceStorage/h1"
    make_state(storage / "state.vscdb", listed=["c1"]).close()
    (storage / "workspace.json").write_text(json.dumps({"folder": "file:///home/dev/repo"}))
    make_state(home / USER / "globalStorage/state.vscdb", conversations=["c1", "c2"]).close()

    run_ingest(store, [home], workspace=Path("/home/dev/repo"))

    assert rows(store, "select id from sessions") == [("c1",)]


@pytest.mark.parametrize("log", [False, True])
def test_nothing_is_created_beside_a_database_that_cursor_has_open(store, home, log):
    path = home / USER / "globalStorage/state.vscdb"
    with closing(make_state(path, conversations=["c1"], log=log)) as open_by_cursor:
        before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
        summary = run_ingest(store, [home]).agents["cursor"]
        after = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
        assert open_by_cursor.execute("select count(*) from cursorDiskKV").fetchone() == (3,)

    assert (summary.sessions, summary.responses) == (1, 1)
    assert after == before
    assert ("state.vscdb-wal" in before) == log


READ = """
import sys
from pathlib import Path
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store
try:
    Path(sys.argv[1], ".config/Cursor/User/globalStorage/new").touch()
except PermissionError:
    with Store.open(Path(sys.argv[2]), create=True) as opened:
        print(run_ingest(opened, [Path(sys.argv[1])]).agents["cursor"].sessions)
"""


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
def test_a_home_that_may_only_be_read_is_read(tmp_path, home, need_tool, log):
    path = home / USER / "globalStorage/state.vscdb"
    # Permissions do not bind root, unless it gives that right away.
    bound = [need_tool("setpriv"), "--bounding-set", "-dac_override"] if os.getuid() == 0 else []
    with closing(make_state(path, conversations=["c1"], log=log)):
        folders = path.parents[: len(path.relative_to(home).parts)]
        for folder in folders:
            folder.chmod(0o555)
        command = [*bound, sys.executable, "-c", READ, str(home), str(tmp_path / "store.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        for folder in folders:
            folder.chmod(0o755)

    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_database_whose_log_came_without_the_rest_is_read(store, home):
    path = home / USER / "globalStorage/state.vscdb"
    with closing(make_state(path, conversations=["c1"], log=True)):
        copied = home / "copied/state.vscdb"
        copied.parent.mkdir()
        for suffix in ("", "-wal"):
            copied.with_name(copied.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())

    summary = run_ingest(store, [copied.parent]).agents["cursor"]

    assert summary.sessions == 1
    assert {file.name for file in copied.parent.iterdir()} == {"state.vscdb", "state.vscdb-wal"}


def test_a_cell_that_is_no_text_spoils_only_itself(store, home):
    path = home / USER / "globalStorage/state.vscdb"
    with closing(make_state(path, conversations=["c1", "c2"])) as connection:
        connection.execute("update cursorDiskKV set value = x'7B22FF' where key = 'composerData:c2'")
        connection.commit()

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, summary.rejects) == (1, {"not_json": 1})


@pytest.mark.parametrize(
    ("table", "key", "n_sessions"),
    [
        ("cursorDiskKV", "composerData:c2", 1),
        ("cursorDiskKV", "bubbleId:c2:b2", 2),
        ("ItemTable", "composer.composerData", 2),
    ],
)
def test_a_cell_that_is_too_long_is_a_reject(store, home, monkeypatch, table, key, n_sessions):
    monkeypatch.setattr("kaizen_analytics.ingest.cursor_database.LINE_CAP_BYTES", 1000)
    path = home / USER / "globalStorage/state.vscdb"
    with closing(make_state(path, conversations=["c1", "c2"])) as connection:
        connection.execute(
            f"update {table} set value = json_set(value, '$.text', hex(zeroblob(501))) where key = ?", [key]
        )
        connection.commit()

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, summary.rejects) == (n_sessions, {"too_long": 1})
    assert rows(store, "select detail from ka_rejects") == [(key,)]


def transcript(home, name, slug="w-app"):
    said = {"role": "user", "message": {"content": [{"type": "text", "text": "<user_query>\ngo\n</user_query>"}]}}
    called = {"type": "tool_use", "name": "Read", "input": {"path": "/w/app/a.py"}}
    told = {"role": "assistant", "message": {"content": [{"type": "text", "text": "ok"}, called]}}
    return write(home, f".cursor/projects/{slug}/agent-transcripts/{name}/{name}.jsonl", lines(said, told))


@pytest.mark.parametrize(
    ("before", "after", "right"),
    [
        ("abc", "xyz", "abcxyz"),  # overwritten
        ("abc", "bcde", "abcde"),  # its head is lost
        ("abc", "a", "abc"),
        ("abc", "", "abc"),
    ],
)
@pytest.mark.parametrize("form", ["jsonl", "txt"])
def test_what_a_conversation_lost_stays_however_much_it_gained(store, home, before, after, right, form):
    def say(texts):
        turns = "".join(f"user:\n<user_query>\n{text}\n</user_query>\nassistant:\nok {text}\n" for text in texts)
        said = [{"role": "user", "message": {"content": f"<user_query>{text}</user_query>"}} for text in texts]
        content = lines(*said) if form == "jsonl" else turns.encode()
        write(home, f".cursor/projects/w/agent-transcripts/c1/c1.{form}", content)
        run_ingest(store, [home])

    say(before)
    say(after)

    asked = rows(store, "select payload->>'text' from events where payload->>'prompt' order by 1")
    assert "".join(str(text) for (text,) in asked) == right


def test_an_answer_that_grew_is_no_second_one(store, home):
    for said in ("ok", "ok\nand more"):
        text = f"user:\n<user_query>\ngo\n</user_query>\nassistant:\n{said}\n"
        write(home, ".cursor/projects/w/agent-transcripts/c1/c1.txt", text.encode())
        run_ingest(store, [home])

    assert rows(store, "select count(*) from events") == [("2",)]


@pytest.mark.parametrize("left", [["c2"], []])
def test_a_conversation_that_its_database_lost_is_counted(store, home, left):
    path = home / USER / "globalStorage/state.vscdb"
    make_state(path, conversations=["c1", "c2"]).close()
    run_ingest(store, [home])
    path.unlink()
    make_state(path, conversations=left).close()

    for _ in range(2):
        kept = run_ingest(store, [home]).agents["cursor"]
        assert (kept.kept_events, kept.kept_sessions) == (2 * (2 - len(left)), 2 - len(left))
    assert rows(store, "select count(*) from events") == [("4",)]


@pytest.mark.parametrize("first", ["transcript", "database", "both"])
def test_a_conversation_in_two_forms_is_one_with_the_tokens_of_one_and_the_folder_of_the_other(store, home, first):
    def say():
        transcript(home, "c1")

    def keep():
        make_state(home / USER / "globalStorage/state.vscdb", conversations=["c1"]).close()

    for step in {"transcript": (say, keep), "database": (keep, say), "both": (say, keep)}[first]:
        step()
        if first != "both":
            run_ingest(store, [home])
    run_ingest(store, [home])

    found = rows(store, "select id, workspace, started_at_ms from sessions")
    assert found == [("c1", "/w/app", str(START_MS))]
    assert rows(store, "select sum(tokens_in), count(*) from events") == [("10", "2")]
    next(home.rglob("*.jsonl")).unlink()
    run_ingest(store, [home], full=True)
    assert rows(store, "select sum(tokens_in), count(*) from events") == [("10", "2")]
    assert rows(store, "select workspace from sessions") == [("/w/app",)]


def field(number, data):
    assert len(data) < 128 or number == 4
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 0x7F | 0x80, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


def make_chat(home, name, messages, *, cwd="/w/app", meta_json=True, log=False):
    folder = home / ".cursor/chats/0a1b" / name
    folder.mkdir(parents=True)
    blobs = {}

    def keep(data):
        digest = hashlib.sha256(data).digest()
        blobs[digest.hex()] = data
        return digest

    plain = [keep(json.dumps(message).encode()) for message in messages[:-1]]
    wrapped = keep(field(1, b"\x0a\x01x") + field(4, json.dumps(messages[-1]).encode()))
    root = keep(b"".join(field(1, digest) for digest in [*plain, wrapped]) + bytes([5 << 3, 7]))
    told = {"agentId": name, "latestRootBlobId": root.hex(), "createdAt": START_MS, "lastUsedModel": "gpt-5"}
    connection = sqlite3.connect(folder / "store.db")
    if log:
        connection.execute("pragma journal_mode = wal")
    connection.execute("create table blobs (id text primary key, data blob)")
    connection.execute("create table meta (key text primary key, value text)")
    connection.execute("insert into meta values ('0', ?)", [json.dumps(told).encode().hex()])
    connection.executemany("insert into blobs values (?, ?)", list(blobs.items()))
    connection.commit()
    if meta_json:
        beside = {"cwd": cwd, "createdAtMs": START_MS, "updatedAtMs": START_MS + 60_000}
        (folder / "meta.json").write_text(json.dumps(beside))
    return connection


CHAT = [
    {"role": "system", "content": "You are"},
    {"role": "user", "content": [{"type": "text", "text": "<user_query>\ngo\n</user_query>"}]},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "text": "ok"},
            {"type": "tool-call", "toolCallId": "t1", "toolName": "Shell", "args": {"command": "ls"}},
        ],
    },
    {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "t1", "toolName": "Shell", "result": "x"}]},
    {"role": "assistant", "content": "done"},
]


@pytest.mark.parametrize("log", [False, True])
def test_a_session_of_the_command_line_is_read_from_its_database(store, home, log):
    with closing(make_chat(home, "chat-1", CHAT, log=log)):
        summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, summary.prompts, summary.tool_calls, summary.tool_results) == (1, 1, 1, 1)
    found = rows(store, "select id, workspace, started_at_ms, ended_at_ms from sessions")
    assert found == [("chat-1", "/w/app", str(START_MS), str(START_MS + 60_000))]
    kinds = [kind for (kind,) in rows(store, "select kind from events order by seq")]
    assert kinds == ["Message", "Message", "ToolCall", "ToolResult", "Message"]


def test_a_message_of_a_chat_that_is_too_long_is_a_reject(store, home, monkeypatch):
    monkeypatch.setattr("kaizen_analytics.ingest.cursor_database.LINE_CAP_BYTES", 1000)
    make_chat(home, "chat-1", [CHAT[1], {"role": "user", "content": "x" * 1001}, CHAT[4]]).close()

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, summary.prompts, summary.rejects) == (1, 1, {"too_long": 1})


def test_what_was_said_twice_in_a_chat_is_two_messages(store, home):
    make_chat(home, "chat-1", [CHAT[1], CHAT[4], CHAT[1], CHAT[4], CHAT[4]]).close()

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.prompts, summary.events) == (2, 5)


def test_a_log_without_its_database_is_named(store, home):
    path = home / USER / "globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    path.touch()
    path.with_name("state.vscdb-wal").write_bytes(b"x")

    summary = run_ingest(store, [home])

    assert summary.agents["cursor"].unreadable == 1
    assert "is empty, but has a log" in summary.warnings[0]


def test_a_session_of_the_command_line_with_a_transcript_is_one(store, home):
    make_chat(home, "chat-1", CHAT, meta_json=False).close()
    transcript(home, "chat-1")

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, summary.prompts, summary.events) == (1, 1, 5)
    assert rows(store, "select workspace from sessions") == [("/w/app",)]


@pytest.mark.parametrize("meta", ["zz", "5b5d", "7b"])
def test_a_description_that_cannot_be_read_is_a_reject(store, home, meta):
    with closing(make_chat(home, "chat-1", CHAT)) as connection:
        connection.execute("update meta set value = ?", [meta])
        connection.commit()

    summary = run_ingest(store, [home]).agents["cursor"]

    assert (summary.sessions, sum(summary.rejects.values())) == (0, 1)
