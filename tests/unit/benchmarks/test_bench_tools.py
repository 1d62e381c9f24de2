"""What the benchmarks stand on: generators, measuring, tables. The figures themselves are no test's business."""

import sqlite3
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.measure import measure
from benchmarks.stores import append_events, remove_appended
from benchmarks.tables import Section, render_sections, seconds, times
from benchmarks.transcripts import make_transcripts
from benchmarks.workloads import WORKLOADS, digest


def test_a_measured_process_says_what_it_took_and_printed() -> None:
    run = measure([sys.executable, "-c", "x = bytearray(80_000_000); print([1])"])
    assert run.json == [1]
    assert run.peak_mb > 80
    assert run.wall_s > 0


def test_a_failure_is_no_figure() -> None:
    with pytest.raises(RuntimeError, match="boo"):
        measure([sys.executable, "-c", "raise SystemExit('boo')"])


def test_transcripts_are_the_same_each_time(tmp_path: Path) -> None:
    sizes = [make_transcripts(tmp_path / name, 1) for name in ("one", "two")]
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.jsonl"))
    assert sizes[0] == sizes[1] >= 1e6
    assert files
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    lines = [orjson.loads(line) for file in files for line in (tmp_path / "one" / file).read_bytes().splitlines()]
    answers = [line["message"]["id"] for line in lines if line["type"] == "assistant"]
    assert len(answers) == len(set(answers)) > 100


@pytest.fixture
def store(tmp_path: Path) -> Path:
    # In a process of its own: this one may read the store through DuckDB.
    path = tmp_path / "store.db"
    measure([sys.executable, "-m", "benchmarks.stores", "make", str(path), "2000"])
    return path


@pytest.mark.parametrize("name", ["store_query", "mirror_metrics", "mirror_rollup"])
def test_every_way_to_all_metrics_has_the_same_digits(store: Path, name: str) -> None:
    commands = [[sys.executable, "-m", "benchmarks.workloads", way, str(store)] for way in ("sqlite_each", name)]
    answers = [measure(command).json["digest"] for command in commands]
    assert answers[0] == answers[1] is not None


def test_every_workload_has_a_name_and_a_purpose() -> None:
    assert all(function.__doc__ for function in WORKLOADS.values())
    assert digest(None) is None


def test_appended_events_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "create table events (session_id, seq, ts_ms, kind, source, tool, tokens_in, tokens_out, cost_usd_e6, payload, "
        "ts_exact, reasoning_tokens, cache_creation_tokens, cache_read_tokens)"
    )
    connection.close()
    append_events(path, 300)
    connection = sqlite3.connect(path)
    assert connection.execute("select count(*), count(distinct session_id) from events").fetchone() == (300, 3)
    remove_appended(path)
    assert connection.execute("select count(*) from events").fetchone() == (0,)
    connection.close()


def test_a_missed_target_stands_out() -> None:
    section = Section("Speed")
    section.add_target("fast", "1x", times(2.04), met=False)
    section.add_table(["", "wall"], [["a", seconds(0.5)]])
    page = render_sections([section])
    assert "| fast | 1x | 2.0x | **missed** |" in page
    assert page.endswith("## Speed\n\n|  | wall |\n| --- | ---: |\n| a | 0.500 s |")


def test_figures_have_units() -> None:
    assert [seconds(0.12345), seconds(1.5), seconds(120)] == ["0.123 s", "1.50 s", "120.0 s"]
    assert [times(1.26), times(1234)] == ["1.3x", "1,234x"]
