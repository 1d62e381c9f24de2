"""Commands measured from outside: wall time, processor time and peak memory of a process and its children."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]


# A process starts with the peak memory of its parent, so the parent must be small.
_LAUNCHER = """
import json, os, sys, time
usage, *command = sys.argv[1:]
started = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, facts = os.wait4(process, 0)
wall_s = time.perf_counter() - started
open(usage, "w").write(json.dumps([wall_s, facts.ru_utime + facts.ru_stime, facts.ru_maxrss]))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One measured process; times in seconds, memory in MB, `answer` is what it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    answer: str

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.answer)


def measure(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command once.

    Raises:
        RuntimeError: it failed; a benchmark of a failure proves nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        usage = Path(folder) / "usage.json"
        done = subprocess.run(
            [sys.executable, "-S", "-E", "-c", _LAUNCHER, str(usage), *command],
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},  # as an installed package
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.decode()[-2000:]}")
        wall_s, cpu_s, peak = json.loads(usage.read_text())
    return Run(wall_s, cpu_s, peak / (1e6 if sys.platform == "darwin" else 1e3), done.stdout.decode())


def measure_median(command: Sequence[str], times: int, *, environment: Mapping[str, str] | None = None) -> Run:
    """Run a command several times and return the `median_of` its runs."""
    return median_of([measure(command, environment=environment) for _ in range(times)])


def median_of(runs: Sequence[Run]) -> Run:
    """Return the run with the median wall time, the median of the processor times and the largest peak."""
    runs = sorted(runs, key=lambda run: run.wall_s)
    middle = runs[len(runs) // 2]
    return Run(middle.wall_s, statistics.median(run.cpu_s for run in runs), max(r.peak_mb for r in runs), middle.answer)


def make_once(folder: Path, make: Callable[[Path], object]) -> None:
    """Make a folder under another name and rename it when it is whole; one that exists stays."""
    if not folder.exists():
        staged = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(staged, ignore_errors=True)
        make(staged)
        staged.rename(folder)


def workload(name: str, *arguments: str) -> list[str]:
    """Return the command that runs one function of `benchmarks.workloads`."""
    return [sys.executable, "-m", "benchmarks.workloads", name, *arguments]


def command_line(*arguments: str) -> list[str]:
    """Return a command of the program."""
    return [sys.executable, "-m", "kaizen_analytics", *arguments]
