"""What the benchmarks stand on: generators, measuring, tables. The figures themselves are no test's business."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.__main__ import render_page
from benchmarks.measure import ROOT, measure
from benchmarks.outcomes import make_history, write_sessions
from benchmarks.starts import PARTS
from benchmarks.tables import Section, render_sections, seconds, times
from benchmarks.transcripts import make_transcripts
from benchmarks.workloads import WORKLOADS


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


@pytest.mark.slow
def test_both_ways_to_all_metrics_have_the_same_digits(tmp_path: Path) -> None:
    # In processes of their own: this one may read the store through DuckDB.
    path = tmp_path / "store.db"
    measure([sys.executable, "-m", "benchmarks.stores", "make", str(path), "2000"])
    each, ours = (measure([sys.executable, "-m", "benchmarks.workloads", way, str(path)]) for way in WORKLOADS)
    assert each.json["digest"] == ours.json["digest"]


def test_every_workload_has_a_name_and_a_purpose() -> None:
    assert all(function.__doc__ for function in WORKLOADS.values())


def test_a_missed_target_stands_out() -> None:
    section = Section("Speed")
    section.add_target("fast", "1x", times(2.04), met=False)
    section.add_table(["", "wall"], [["a", seconds(0.5)]])
    page = render_sections([section])
    assert "| fast | 1x | 2.0x | **missed** |" in page
    assert page.startswith("## Speed\n\n| target |")
    assert page.endswith("\n\n|  | wall |\n| --- | ---: |\n| a | 0.500 s |")


def test_a_section_that_is_measured_alone_takes_the_place_of_its_former_self() -> None:
    former = render_page(["## One\n\nbefore 7", "## Two\n\nkept"])
    page = render_page(["## One\n\nafter 8"], former)
    assert page == former.replace("before 7", "after 8")


def test_figures_have_units() -> None:
    assert [seconds(0.12345), seconds(1.5), seconds(120)] == ["0.123 s", "1.50 s", "120.0 s"]
    assert [times(1.26), times(1234)] == ["1.3x", "1,234x"]


def test_every_part_of_an_evaluation_that_is_timed_is_one_function() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "kaizen_analytics").rglob("*.py"))
    assert {name: code.count(f"def {name}(") for name in PARTS} == dict.fromkeys(PARTS, 1)


def test_a_history_for_git_is_whole(tmp_path: Path) -> None:
    make_history(tmp_path / "repo", 120)
    log = ["git", "-C", str(tmp_path / "repo"), "log", "--oneline"]
    main, every = (subprocess.check_output([*log, *more], text=True).splitlines() for more in (["main"], ["--all"]))
    assert len(every) == 120
    assert len(main) < 120, "some commits are on other branches"
    write_sessions(tmp_path / "home", tmp_path / "repo")
    assert len(list((tmp_path / "home").rglob("*.jsonl"))) == 30
