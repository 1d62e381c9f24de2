"""What a start loads: nobody waits for the statistics who only opens a store or lists experiments."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = {"numpy", "polars", "scipy", "pyarrow"}
COMMAND = """
from typer.testing import CliRunner
from kaizen_analytics.cli import app
answer = CliRunner().invoke(app, {words!r})
assert answer.exit_code == 0, answer.output
"""


def loaded(code: str) -> set[str]:
    """Return the top-level packages that a fresh Python has loaded after running some code."""
    script = f"{code}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def run(*words: str) -> set[str]:
    return loaded(COMMAND.format(words=list(words)))


def test_the_store_is_imported_without_the_libraries_of_numbers():
    seed = "Store, save_experiment, load_experiment, list_experiments, tag_session, set_state, manual_tags, Metric"
    found = loaded(f"from kaizen_analytics import {seed}")
    assert "kaizen_analytics" in found
    assert found & {*NUMBERS, "_duckdb", "duckdb", "pandas", "rich"} == set()


@pytest.mark.slow
def test_experiments_are_listed_without_the_libraries_of_numbers(sample_store: Path):
    found = run("exp", "list", "--store", str(sample_store))
    assert "_duckdb" in found
    assert found & {*NUMBERS, "duckdb", "pandas"} == set()


@pytest.mark.slow
def test_an_ingest_without_news_loads_no_libraries_of_numbers(tmp_path: Path):
    (tmp_path / ".codex" / "sessions").mkdir(parents=True)
    found = run("ingest", "--store", str(tmp_path / "store.db"), "--home", str(tmp_path))
    assert "_duckdb" in found
    assert found & {*NUMBERS, "duckdb", "pandas"} == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("retro", "--dry-run", "--days", "400"),
        *(pytest.param(one, marks=pytest.mark.long) for one in (("sessions", "list"), ("metrics",))),
    ],
)
def test_a_command_that_reads_frames_loads_no_pandas(sample_store: Path, words: tuple[str, ...]):
    found = run(*words, "--store", str(sample_store))
    assert "polars" in found
    assert "pandas" not in found
