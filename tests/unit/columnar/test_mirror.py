"""The mirror answers what the store answers, whatever happened to either."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mirror_cases import ForeignWriter, Statement, event, plain_metrics, session, touch
from polars.testing import assert_frame_equal

from kaizen_analytics.columnar import (
    build,
    clear_mirror,
    extraction,
    manifest,
    mirror,
    read_mirror,
    refresh,
    rollup,
    session_metrics,
)
from kaizen_analytics.engines import EmbeddedEngine
from kaizen_analytics.errors import StoreError, StoreMissingError
from kaizen_analytics.store import Store


def assert_same(path: Path, root: Path) -> None:
    for counted in (True, False):
        mirrored = session_metrics(path, rollup=counted, root=root)
        assert_frame_equal(mirrored, plain_metrics(path, rollup=counted), check_exact=True)


def tokens(path: Path, root: Path) -> dict[str, float]:
    return dict(session_metrics(path, root=root).select("session_id", "tokens_per_session").iter_rows())


REPLACE = """
    insert or replace into events (id, session_id, seq, ts_ms, kind, source, payload, ts_exact)
    select id, session_id, seq, ts_ms, 'Error', source, payload, ts_exact from events where session_id = 'b' and seq = 0
"""

CHANGES: dict[str, list[Statement]] = {
    "append to a session": [event("a", 2, tokens_in=5)],
    "append a session": [session("c"), event("c", 0, tokens_in=5)],
    "update a cell": [("update events set tokens_in = 99 where session_id = 'a' and seq = 0", [])],
    "swap two cells": [("update events set tokens_out = 1 - seq, tokens_in = null where session_id = 'a'", [])],
    "mark a prompt": [("update events set payload = '{\"role\":\"user\",\"prompt\":true}' where id = 1", [])],
    "delete an event": [("delete from events where session_id = 'a' and seq = 1", [])],
    "delete the events of a session": [("delete from events where session_id = 'a'", [])],
    "delete a session": [("delete from sessions where id = 'a'", [])],
    "delete everything": [("delete from events", []), ("delete from sessions", [])],
    "rewrite a session": [("delete from events where session_id = 'a'", []), event("a", 0), event("a", 1, tokens_in=3)],
    "rewrite an event under its id": [(REPLACE, [])],
    "move an event": [("update events set session_id = 'b', seq = 7 where session_id = 'a' and seq = 1", [])],
    "rename a session": [("update sessions set id = 'z' where id = 'a'", [])],
    "end a session": [("update sessions set ended_at_ms = 60000 where id = 'a'", [])],
    "make it a sub-agent": [("update sessions set parent_session_id = 'b' where id = 'a'", [])],
    "touch a file": [touch("a", "src/x.py")],
    "events before their session": [event("late", 0, tokens_in=5)],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_another_program_is_noticed(path: Path, root: Path, foreign: ForeignWriter, change: str) -> None:
    assert_same(path, root)
    foreign.write(path, *CHANGES[change])
    assert_same(path, root)


@st.composite
def statements(draw: st.DrawFn) -> list[Statement]:
    name = draw(st.sampled_from("abcd"))
    seq = draw(st.integers(0, 5))
    number = draw(st.none() | st.integers(0, 3))
    kind = draw(st.sampled_from(["Message", "ToolCall", "ToolResult", "Error"]))
    payload = draw(st.sampled_from([{}, {"role": "user", "prompt": True}, {"role": "assistant"}, {"is_error": True}]))
    parent = draw(st.none() | st.sampled_from("abcd"))
    new_event = event(name, seq, kind, payload, tokens_in=number, cost_usd_e6=number, tool=draw(st.sampled_from("xy")))
    choices: list[list[Statement]] = [
        [("delete from events where session_id = ? and seq = ?", [name, seq]), new_event],
        [("update events set tokens_in = ?, kind = ? where session_id = ? and seq = ?", [number, kind, name, seq])],
        [("delete from events where session_id = ?", [name])],
        [("delete from events where session_id = ?", [name]), new_event],
        [("delete from sessions where id = ?", [name]), session(name, parent_session_id=parent, ended_at_ms=number)],
        [("delete from sessions where id = ?", [name])],
        [("delete from files_touched", []), touch(name, f"{seq}.py")],
        [("update sessions set parent_session_id = ? where id = ?", [parent, name])],
    ]
    return draw(st.sampled_from(choices))


class CrashError(BaseException):
    """Stands for the end of the process at one step of a build."""


def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a build end before its `step`-th change of the cache folder."""
    steps = [0]

    def count(original: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **named: object) -> object:
            steps[0] += 1
            if steps[0] == step:
                raise CrashError
            return original(*arguments, **named)

        return counted

    for method in ("replace", "write_text", "unlink", "chmod"):
        monkeypatch.setattr(Path, method, count(getattr(Path, method)))


def damage(folder: Path, kind: str, choice: int) -> None:
    """Do to the cache folder what a full disk, a crash or a curious person might."""
    files = sorted(folder.glob("*.*")) if folder.exists() else []
    if not files:
        return
    victim = files[choice % len(files)]
    content = bytearray(victim.read_bytes())
    if kind == "delete":
        victim.unlink()
    elif kind == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    elif kind == "flip" and content:
        content[choice % len(content)] ^= 1
        victim.write_bytes(content)
    elif kind == "remove all":
        shutil.rmtree(folder)


STEP = st.one_of(
    st.tuples(st.just("write"), st.lists(statements(), min_size=1, max_size=3)),
    st.tuples(st.just("crash"), st.integers(1, 45)),
    st.tuples(
        st.just("damage"),
        st.tuples(st.sampled_from(["delete", "truncate", "flip", "remove all"]), st.integers(0, 10_000)),
    ),
)


@settings(max_examples=12)
@given(steps=st.lists(STEP, min_size=2, max_size=7))
def test_after_any_history_the_mirror_equals_the_store(foreign: ForeignWriter, steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, root = Path(name) / "kaizen.db", Path(name) / "cache"
        Store.open(path, create=True).close()
        for action, detail in steps:
            run_step(path, root, foreign, action, detail)
        assert_same(path, root)


def run_step(path: Path, root: Path, foreign: ForeignWriter, action: str, detail: object) -> None:
    if action == "write":
        for transaction in detail:
            foreign.write(path, *transaction)
        assert_same(path, root)
    elif action == "damage":
        damage(mirror.find_folder(path, root), *detail)
        assert_same(path, root)
    else:
        with pytest.MonkeyPatch.context() as monkeypatch:
            crash_at(detail, monkeypatch)
            with contextlib.suppress(CrashError):
                refresh(path, root=root, anew=True)


def test_a_missing_store_is_named(tmp_path: Path, root: Path) -> None:
    with pytest.raises(StoreMissingError, match=r"none\.db"):
        session_metrics(tmp_path / "none.db", root=root)


def test_a_store_that_vanishes_is_not_answered_from_its_mirror(path: Path, root: Path) -> None:
    assert_same(path, root)
    path.unlink()
    with pytest.raises(StoreMissingError):
        session_metrics(path, root=root)


def test_an_unchanged_store_is_not_opened_again(path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session_metrics(path, root=root)
    monkeypatch.setattr(build, "refresh_mirror", None)
    assert tokens(path, root) == {"a": 12, "b": 12}


def test_a_change_that_leaves_the_content_reads_no_event_again(path: Path, root: Path) -> None:
    first = refresh(path, root=root)
    os.utime(path, ns=(0, 0))
    second = refresh(path, root=root)
    assert second.fingerprint != first.fingerprint
    assert (second.parts, second.tables) == (first.parts, first.tables)


def test_only_changed_sessions_are_read_again(path: Path, root: Path, foreign: ForeignWriter) -> None:
    many = [statement for i in range(20) for statement in (session(f"s{i}"), event(f"s{i}", 0, tokens_in=i))]
    foreign.write(path, *many)
    first = refresh(path, root=root)
    foreign.write(path, *CHANGES["update a cell"])
    second = refresh(path, root=root)
    assert [part.rows for part in second.parts] == [24, 2]
    assert second.parts[0] == first.parts[0]
    assert_same(path, root)


def test_dead_rows_are_removed_when_they_are_many(path: Path, root: Path, foreign: ForeignWriter) -> None:
    many = [statement for i in range(20) for statement in (session(f"s{i}"), event(f"s{i}", 0, tokens_in=i))]
    foreign.write(path, *many)
    refresh(path, root=root)
    for number in range(5):
        foreign.write(path, (f"update events set tokens_in = {100 + number} where session_id in ('a', 'b')", []))
        refreshed = refresh(path, root=root)
    assert sum(part.rows for part in refreshed.parts) < 24 + 5 * 4
    assert_same(path, root)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every store counts as large."""
    monkeypatch.setattr(build, "COMPARED_WHOLE_EVENTS", -1)


IN_PLACE = {"update a cell", "swap two cells", "mark a prompt", "rewrite an event under its id"}


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", sorted(set(CHANGES) - IN_PLACE))
def test_of_a_large_store_new_and_deleted_rows_are_noticed_at_once(
    path: Path, root: Path, foreign: ForeignWriter, change: str
) -> None:
    session_metrics(path, root=root)
    foreign.write(path, *CHANGES[change])
    assert_same(path, root)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("change", sorted(set(CHANGES) - IN_PLACE - {"delete everything"}))
def test_of_a_large_store_no_event_is_compared_for_new_and_deleted_rows(
    path: Path, root: Path, foreign: ForeignWriter, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    many = [statement for i in range(20) for statement in (session(f"s{i}"), event(f"s{i}", 0, tokens_in=i))]
    foreign.write(path, *many)
    refresh(path, root=root)
    monkeypatch.setattr(extraction, "read_checks", None)
    monkeypatch.setattr(extraction, "stream_events", None)
    foreign.write(path, *CHANGES[change])
    assert_same(path, root)


FOOTPRINT = "insert or replace into ka_sources values ('a', 'kaizen_analytics', 2, ?)"


@pytest.mark.usefixtures("large")
def test_of_a_large_store_an_event_that_ingest_completed_is_noticed_at_once(
    path: Path, root: Path, foreign: ForeignWriter
) -> None:
    foreign.write(path, (FOOTPRINT, [1]))
    session_metrics(path, root=root)
    foreign.write(path, *CHANGES["update a cell"], (FOOTPRINT, [2]))
    assert_same(path, root)


@pytest.mark.usefixtures("large")
def test_of_a_large_store_ids_that_begin_again_lead_to_a_whole_comparison(
    path: Path, root: Path, foreign: ForeignWriter
) -> None:
    session_metrics(path, root=root)
    foreign.write(path, ("delete from events where id = 4", []), *CHANGES["update a cell"])
    assert_same(path, root)


@pytest.mark.usefixtures("large")
def test_of_a_large_store_a_cell_changed_in_place_is_noticed_by_the_next_whole_comparison(
    path: Path, root: Path, foreign: ForeignWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_metrics(path, root=root)
    foreign.write(path, *CHANGES["update a cell"])
    assert tokens(path, root) == {"a": 12, "b": 12}
    monkeypatch.setattr(build, "COMPARED_EVERY_MS", 0)
    foreign.write(path, *CHANGES["touch a file"])
    assert_same(path, root)


@pytest.mark.usefixtures("large")
def test_a_whole_comparison_can_be_asked_for(path: Path, root: Path, foreign: ForeignWriter) -> None:
    session_metrics(path, root=root)
    foreign.write(path, *CHANGES["update a cell"])
    refresh(path, root=root, compare_whole=True)
    assert_same(path, root)


def test_events_of_a_session_come_in_order(path: Path, root: Path) -> None:
    rows = read_mirror(path, lambda mirror: mirror.events("b"), root=root)
    assert rows.select("session_id", "seq", "tokens_in").rows() == [("b", 0, 1), ("b", 1, 11)]
    assert read_mirror(path, lambda mirror: mirror.events("nobody"), root=root).is_empty()


def test_a_cleared_mirror_is_built_again(path: Path, root: Path) -> None:
    session_metrics(path, root=root)
    folder = mirror.find_folder(path, root)
    assert clear_mirror(path, root=root) > 0
    assert [file.name for file in folder.iterdir()] == ["lock"]
    assert clear_mirror(path, root=root) == 0
    assert_same(path, root)


def test_only_the_owner_may_read_a_mirror(path: Path, root: Path) -> None:
    session_metrics(path, root=root)
    folder = mirror.find_folder(path, root)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_a_store_and_a_link_to_it_share_a_mirror(path: Path, root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    assert mirror.find_folder(link, root) == mirror.find_folder(path, root)


def test_a_mirror_that_breaks_at_once_is_an_error(path: Path, root: Path) -> None:
    def fail(_: object) -> None:
        raise manifest.DamagedError("x")

    with pytest.raises(StoreError, match="check the disk"):
        read_mirror(path, fail, root=root)


READER = """
import sys
from pathlib import Path
from kaizen_analytics.columnar import session_metrics
print(session_metrics(Path(sys.argv[1]), root=Path(sys.argv[2]))["tokens_per_session"].sum())
print(any("sqlite_scanner" in line for line in open("/proc/self/maps")))
print(any(name in sys.modules for name in ("duckdb", "filelock", "numpy", "pyarrow")))
"""


def start_reader(path: Path, root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READER, str(path), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_build_at_once(path: Path, root: Path) -> None:
    answers = {reader.communicate()[0].split()[0] for reader in [start_reader(path, root) for _ in range(3)]}
    assert answers == {"24.0"}
    assert_same(path, root)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at the libraries of a process in /proc")
def test_a_fresh_mirror_is_read_without_duckdb_and_the_sqlite_extension(path: Path, root: Path) -> None:
    refresh(path, root=root)
    assert start_reader(path, root).communicate()[0].split() == ["24.0", "False", "False"]


@pytest.mark.parametrize("delay_s", [0.5, 0.9, 1.2])
def test_a_killed_builder_leaves_nothing_wrong(path: Path, root: Path, delay_s: float) -> None:
    reader = start_reader(path, root)
    time.sleep(delay_s)
    reader.kill()
    reader.communicate()
    assert_same(path, root)


SHIFTER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30)
for number in range(100_000):
    with connection:
        connection.execute("update events set tokens_in = 100 - ? where session_id = 'a' and seq = 0", [number % 50])
        connection.execute("update events set tokens_in = 100 + ? where session_id = 'b' and seq = 0", [number % 50])
"""


def test_a_writer_at_work_never_shows_half_a_transaction(path: Path, root: Path, foreign: ForeignWriter) -> None:
    foreign.write(path, ("update events set tokens_in = 100 where seq = 0", []))
    with subprocess.Popen([sys.executable, "-c", SHIFTER, str(path)]) as writer:
        sums = {sum(tokens(path, root).values()) for _ in range(5)}
        writer.kill()
    assert sums == {222}
    assert_same(path, root)


@pytest.mark.parametrize("kind", ["delete", "flip"])
@pytest.mark.parametrize("change", ["append to a session", "rewrite a session"])
def test_a_part_that_was_lost_is_not_handed_on(
    path: Path, root: Path, foreign: ForeignWriter, kind: str, change: str
) -> None:
    refresh(path, root=root)
    folder = mirror.find_folder(path, root)
    [part] = folder.glob("events-*")
    if kind == "delete":
        part.unlink()
    else:
        part.write_bytes(part.read_bytes()[::-1])
    foreign.write(path, *CHANGES[change])
    assert_same(path, root)
    assert_frame_equal(
        session_metrics(path, root=root, rollup=False, engine=EmbeddedEngine()), plain_metrics(path, rollup=False)
    )


@pytest.mark.parametrize("events_a_shard", [1, 2, 5])
def test_shards_give_the_same_rollup(
    path: Path, root: Path, foreign: ForeignWriter, monkeypatch: pytest.MonkeyPatch, events_a_shard: int
) -> None:
    foreign.write(path, session("child", parent_session_id="a"), event("child", 0, tokens_in=5), session("empty"))
    monkeypatch.setattr(rollup, "SHARD_EVENTS", events_a_shard)
    assert_same(path, root)


def test_an_engine_computes_what_the_rollup_holds(path: Path, root: Path, foreign: ForeignWriter) -> None:
    foreign.write(path, session("child", parent_session_id="a"), event("child", 0, tokens_in=5))
    for apart in (True, False):
        stored = session_metrics(path, root=root, rollup=apart)
        assert_frame_equal(session_metrics(path, root=root, rollup=apart, engine=EmbeddedEngine()), stored)
