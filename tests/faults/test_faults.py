"""Each fault a few times; `make test-faults` does them often and writes docs/faults.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run_faults.py")
NAMES = [
    "kill-tag",
    "kill-ingest",
    "kill-conclude",
    "kill-report",
    "kill-export",
    "full-disk",
    "file-limit",
    "io-error",
    "read-only",
    "clock",
    "eight-writers",
    "foreign-lock",
    "torn-line",
]


@pytest.fixture(scope="module")
def rows() -> dict[str, dict]:
    """Run every recipe in a process that has no store and no thread."""
    if sys.platform != "linux":
        pytest.skip("the recipes need fork and /proc")
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--short", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(RUNNER.parents[2])},
    )
    assert done.stdout, done.stderr
    return {row["name"]: row for row in json.loads(done.stdout)}


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_or_doubled(rows: dict[str, dict], name: str) -> None:
    row = rows[name]
    if row["lacks"]:
        message = f"needs {', '.join(row['lacks'])}"
        pytest.fail(message) if os.environ.get("CI_STRICT") == "1" else pytest.skip(message)
    assert (row["lost"], row["doubled"], row["damaged"]) == (0, 0, [])
    assert row["runs"] > 0


@pytest.mark.slow
@pytest.mark.system
def test_every_recipe_is_tested(rows: dict[str, dict]) -> None:
    assert list(rows) == NAMES
