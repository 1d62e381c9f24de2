"""Trees of files in any order, in copies, cut off: the store holds what the fullest tree holds, and loses nothing."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ingest_lines import answer, begun, call, codex, counts, lines, meta, prompt, result, token_count, turn, usage

from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store

_EVENTS = """select session_id, seq, ts_ms, kind, tool, tokens_in, tokens_out, cost_usd_e6, payload, tool_call_id,
    stop_reason, cache_read_tokens from events order by 1, 2"""
_SESSIONS = """select id, agent, model, workspace, started_at_ms, ended_at_ms, branch, parent_session_id from sessions
    order by 1"""
_CONTENT = (
    _EVENTS,
    _SESSIONS,
    "select session_id, path from files_touched order by 1, 2",
    "select session_id, seq, cwd, branch from ka_places order by 1, 2",
)


def content_of(store):
    return [store.native(sql) for sql in _CONTENT]


def turns(stem, first, n, *, branch="main"):
    records = []
    for k in range(n):
        at, name = first + 10 * k, f"msg_01abcdefghijklm{stem}{first}{k}"
        read = call(f"toolu_01abcdefghijklm{stem}{first}{k}", file_path=f"/repo/demo/{stem}{k}.py")
        records += [
            prompt(f"p{stem}{at}", at, f"turn {k}", session=stem),
            answer(f"a{stem}{at}", at + 1, name, session=stem, tokens=usage(output=1), stop=None),
            answer(f"b{stem}{at}", at + 2, name, read, session=stem, tokens=usage(output=9 + k), stop="tool_use"),
            result(f"r{stem}{at}", at + 3, read["id"], session=stem),
        ]
    return [record | {"gitBranch": branch} for record in records]


def page(session, n, responses):
    base = {"history_base": {"thread_id": session, "through_ordinal": n}} if n else {}
    told = [
        token_count(100 * n + k, counts(100 * (n + k), 0, 10 * (n + k), 0), counts(100, 0, 10, 0))
        for k in range(1, responses + 1)
    ]
    return [
        meta(session, 100 * n, **base),
        turn(100 * n),
        codex("event_msg", 100 * n, type="user_message", message="x"),
        *told,
    ]


CLAUDE, CODEX = ".claude/projects/-repo-demo", ".codex/sessions/2026/01/01"
HISTORY = turns("s1", 1, 3)
TREE = {
    f"{CLAUDE}/s1.jsonl": [begun("s1", 0), *HISTORY, begun("s1", 200), *turns("s1", 201, 2, branch="later")],
    f"{CLAUDE}/f1.jsonl": [begun("f1", 100), *(one | {"sessionId": "f1"} for one in HISTORY), *turns("f1", 101, 1)],
    f"{CLAUDE}/s1/subagents/agent-a.jsonl": [one | {"sessionId": "s1"} for one in turns("agent", 5, 1)],
    f"{CLAUDE}/s2.jsonl": turns("s2", 1000, 2),
    f"{CODEX}/rollout-2026-01-01T00-00-00-c1.jsonl": page("c1", 0, 3),
    f"{CODEX}/rollout-2026-01-01T00-00-09-c1_c9.jsonl": page("c1", 4, 2),
}
NAMES = sorted(TREE)
PAGE = f"{CODEX}/rollout-2026-01-01T00-00-00-c1.jsonl"
COPIES = {
    f"{CLAUDE}/s1.jsonl": ".claude/projects/-backup/s1.jsonl",
    f"{CLAUDE}/s2.jsonl": ".claude/projects/-backup/s2.jsonl",
    PAGE: ".codex/archived_sessions/rollout-2026-01-01T00-00-00-c1.jsonl",
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write(folder / "home", dict.fromkeys(NAMES, 1.0))
    with Store.open(folder / "store.db", create=True) as store:
        run_ingest(store, [folder / "home"])
        yield content_of(store)


def write(home, shares):
    """Write the first lines of some files; `shares` says how much of each."""
    for name, share in shares.items():
        records = TREE[next(original for original in NAMES if name in (original, COPIES.get(original)))]
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lines(*records[: round(share * len(records))]))


def fresh(folder):
    shutil.rmtree(folder / "home", ignore_errors=True)
    (folder / "store.db").unlink(missing_ok=True)
    (folder / "home").mkdir(parents=True, exist_ok=True)
    return folder / "home"


PROPERTY = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@PROPERTY
@given(order=st.permutations(NAMES), size=st.integers(1, 3))
def test_files_that_come_in_any_order_give_the_same_store(tmp_path, expected, order, size):
    home = fresh(tmp_path)
    with Store.open(tmp_path / "store.db", create=True) as store:
        for at in range(0, len(order), size):
            write(home, dict.fromkeys(order[at : at + size], 1.0))
            run_ingest(store, [home])
        assert content_of(store) == expected


@pytest.mark.slow
@PROPERTY
@given(steps=st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), max_size=6))
def test_files_that_are_cut_off_on_the_way_lose_nothing(tmp_path, expected, steps):
    home = fresh(tmp_path)
    with Store.open(tmp_path / "store.db", create=True) as store:
        write(home, dict.fromkeys(NAMES, 1.0))
        run_ingest(store, [home])
        for name, share in steps:
            write(home, {name: share})
            run_ingest(store, [home])
            assert content_of(store)[0] == expected[0]
        write(home, dict.fromkeys(NAMES, 1.0))
        run_ingest(store, [home])
        assert content_of(store) == expected


@pytest.mark.slow
@PROPERTY
@given(steps=st.lists(st.tuples(st.sampled_from([*NAMES, *COPIES.values()]), st.floats(0, 1)), max_size=6))
@example(steps=[(PAGE, 0.2), (COPIES[PAGE], 1.0)])  # a file that has said nothing yet takes its session back
def test_a_tree_with_copies_and_backups_gives_what_the_fullest_files_give(tmp_path, expected, steps):
    home = fresh(tmp_path)
    written = {}
    with Store.open(tmp_path / "store.db", create=True) as store:
        for name, share in steps:
            written[name] = max(share, written.get(name, 0))  # files only grow
            write(home, written)
            run_ingest(store, [home])
        write(home, dict.fromkeys(NAMES, 1.0))
        run_ingest(store, [home])
        assert content_of(store) == expected


@pytest.mark.slow
@PROPERTY
@given(steps=st.lists(st.tuples(st.sampled_from(NAMES), st.floats(0, 1)), max_size=8))
def test_no_record_that_was_stored_ever_disappears(tmp_path, steps):
    home = fresh(tmp_path)
    with Store.open(tmp_path / "store.db", create=True) as store:
        known = set()
        for name, share in steps:
            write(home, {name: share})
            run_ingest(store, [home])
            records = set(store.native("select distinct record from ka_records where seq is not null"))
            events, places = store.native("select count(*), count(distinct session_id || ' ' || seq) from events")[0]
            assert known <= records
            assert int(events) == len(records)
            assert events == places
            known = records
