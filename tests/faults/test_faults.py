"""Each fault a few times; `make test-faults` does them often and writes docs/reference/faults.md."""

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
    "kill-publish",
    "kill-export",
    "kill-report",
    "lost-wal",
    "full-disk",
    "full-disk-commands",
    "memory-limit",
    "file-limit",
    "io-error",
    "read-error",
    "swapped-links",
    "read-only",
    "clock",
    "eight-writers",
    "foreign-lock",
    "torn-line",
]


@pytest.mark.system
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost_or_doubled(name: str, give_up) -> None:
    if sys.platform != "linux":
        pytest.skip("needs Linux: the recipes fork and read /proc")
    [row] = run_faults("--only", name, "--short", "--json")
    if row["lacks"]:
        give_up(f"needs {' and '.join(row['lacks'])}")
    assert (row["lost"], row["doubled"], row["damaged"]) == (0, 0, [])
    assert row["runs"] > 0
    assert row["struck"] > 0  # else nothing was shown


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: the recipes fork and read /proc")
def test_every_recipe_is_tested() -> None:
    assert run_faults("--list") == NAMES


def run_faults(*options: str) -> list:
    """Run recipes in a process that has no store and no thread."""
    environment = {**os.environ, "PYTHONPATH": str(RUNNER.parents[2])}
    command = [sys.executable, str(RUNNER), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)
