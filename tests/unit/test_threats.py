"""docs/threats.md names tests that exist; and those of them that belong to no single module."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "unit" / "store"))

from store_cases import make_experiment, run_foreign  # noqa: E402

from kaizen_analytics.cli import app  # noqa: E402
from kaizen_analytics.errors import ReportError, StoreError  # noqa: E402
from kaizen_analytics.experiments import lifecycle  # noqa: E402
from kaizen_analytics.experiments.plan import Plan  # noqa: E402
from kaizen_analytics.reports.ledger import read_record  # noqa: E402
from kaizen_analytics.reports.publication import slug  # noqa: E402
from kaizen_analytics.store import Store  # noqa: E402
from kaizen_analytics.store.experiments import list_experiments, unreadable_experiments  # noqa: E402

PAGE = (TESTS.parent / "docs" / "threats.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`test_" in line]
DEEP = ("[" * 100_000, '{"a":' * 100_000)


def list_tests() -> set[str]:
    """Return the names of all tests of this tree."""
    parsed = (ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py"))
    return {node.name for tree in parsed for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.partition("\n| what")[2]))
    assert len(ROWS) >= 15
    assert named - list_tests() == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| ")[:40])
def test_every_threat_names_its_defence_and_a_test(row: list[str]) -> None:
    assert len(row) == 3
    assert "`test_" in row[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "kaizen.db"
    with Store.open(file, create=True) as store:
        lifecycle.new_experiment(store, make_experiment(), Plan(planned_n=5))
    return file


@pytest.mark.parametrize("text", [*DEEP, "", "{", "9" * 5_000, '"\\ud800'], ids=str.__len__)
def test_json_that_nobody_would_write_is_an_error_with_its_place(path: Path, text: str) -> None:
    run_foreign(path, f"update ka_plans set plan = '{text}'")
    with Store.open(path) as store:
        with pytest.raises(StoreError, match="ka_plans of 'exp-1' holds no JSON") as caught:
            lifecycle.get_plan(store, "exp-1")
        assert len(str(caught.value)) < 500
        run_foreign(path, f"insert into experiments (id, name, created_at_ms, metadata) values ('x', '', 1, '{text}')")
        assert [item.id for item in list_experiments(store)] == ["exp-1"]
        assert [item.id for item in unreadable_experiments(store)] == ["x"]


@pytest.mark.parametrize("text", DEEP, ids=["lists", "objects"])
def test_a_record_of_a_run_that_is_too_deep_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ReportError, match="not a record of a run"):
        read_record(tmp_path)


@pytest.mark.parametrize("subject", ["../../out", "/etc/passwd", "a/../../b", "\x00", "..", "latest", "x" * 5_000])
def test_a_subject_never_leaves_the_folder_of_reports(tmp_path: Path, subject: str) -> None:
    root = tmp_path / "reports"
    place = Path(os.path.normpath(root / slug("experiment_conclusion") / slug(subject)))
    assert place.parent == root / "experiment_conclusion"
    assert place.name != "latest"


def test_a_retro_replaces_a_link(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    kept, out = tmp_path / "kept", tmp_path / "out"
    kept.write_text("kept")
    out.mkdir()
    name = "retro-20260928-20261004-all.md"
    (out / name).symlink_to(kept)
    command = ["retro", "--store", str(path), "--week", "2026-W40", "--format", "md", "--out", str(out)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert kept.read_text() == "kept"
    assert not (out / name).is_symlink()
    assert (out / name).read_text().startswith("# Retro")
