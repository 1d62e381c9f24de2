"""docs/reference/threats.md names tests that exist; and those of them that belong to no single module."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "unit" / "store"))

from store_cases import make_experiment, run_foreign  # noqa: E402

from kaizen_analytics.cli import app  # noqa: E402
from kaizen_analytics.core.errors import ReportError, StoreError  # noqa: E402
from kaizen_analytics.experiments import lifecycle  # noqa: E402
from kaizen_analytics.experiments.plan import Plan, get_plan  # noqa: E402
from kaizen_analytics.redact import load_key  # noqa: E402
from kaizen_analytics.reports.publication import read_record, slug  # noqa: E402
from kaizen_analytics.store import Store  # noqa: E402
from kaizen_analytics.store.experiments import list_experiments, unreadable_experiments  # noqa: E402

PAGE = (TESTS.parent / "docs" / "reference" / "threats.md").read_text(encoding="utf-8")
ROWS = [line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "`test_" in line]
DEEP = ("[" * 100_000, '{"a":' * 100_000)


def list_tests() -> set[str]:
    """Return the names of all tests of this tree."""
    parsed = (ast.parse(path.read_text(encoding="utf-8")) for path in TESTS.rglob("test_*.py"))
    return {node.name for tree in parsed for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.partition("\n| what")[2]))
    assert len(ROWS) >= 15
    assert [row[0] for row in ROWS if len(row) != 3 or "`test_" not in row[2]] == []
    assert named - list_tests() == set()


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
            get_plan(store, "exp-1")
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


MORE = {
    "exp new": "--name x --metric cost_per_session --target-pct -10 --bind manual --all-workspaces",
    "exp edit": "x --name y",
    "exp tag": "e s --variant control",
    "exp power": "--metric cost_per_session --all-workspaces",
    "import": "kaizen.db",
    "export lake": "--to lake --lake-key pseudonyms.key",
    "export retro": "--to x.csv",
    "retro": "--dry-run",
}
"""What commands need besides a store and a value for each required argument, where one has another form."""


def list_store_commands() -> list[list[str]]:
    """Return every command that takes a store, with what it needs."""

    def walk(command: Any, words: list[str]) -> Iterator[list[str]]:
        if any("--store" in parameter.opts for parameter in command.params):
            required = [parameter for parameter in command.params if parameter.required]
            needed = [word for one in required for word in ([one.opts[0], "x"] if one.opts[0][0] == "-" else ["x"])]
            told = MORE.get(" ".join(words))
            yield [*words, *(needed if told is None else told.split())]
        for name in getattr(command, "commands", {}):
            yield from walk(command.get_command(None, name), [*words, name])

    # A report and a copied notebook read the store in a process of their own, the MCP server at each question; it is
    # the same `Store.open`.
    found = walk(typer.main.get_command(app), [])
    others = (["report", "run"], ["notebooks", "copy"], ["mcp"])
    return [words for words in found if words[:2] not in others]


@pytest.mark.parametrize("command", list_store_commands(), ids=" ".join)
def test_no_command_opens_a_store_with_a_trigger(
    command: list[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    load_key(Path("pseudonyms.key"))
    run_foreign(path, "create trigger t after insert on sessions begin delete from events; end")
    before = path.read_bytes()
    result = CliRunner().invoke(app, [*command, "--store", str(path)])
    assert isinstance(result.exception, StoreError), result.output
    assert "trigger t on sessions" in str(result.exception)
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: reads /proc")
def test_no_secret_is_in_arguments_or_messages(tmp_path: Path) -> None:
    secret = "hunter2-" + "x7Qp" * 4
    environment = {**os.environ, "KAIZEN_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "kaizen_analytics", "redact", "--lines", "--explain"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        process.stdin.write(f"DB_PASSWORD={secret}\n\xff\n".encode("latin-1"))
        process.stdin.flush()
        shown = [Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        shown += process.communicate()
    assert process.returncode == 0
    assert b"DB_PASSWORD=<R:kv>" in shown[2]
    assert [part for part in shown if secret.encode() in part] == []
