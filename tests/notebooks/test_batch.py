"""Several reports at once, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.reports.batch import run_batch
from kaizen_analytics.reports.catalogue import read_report
from kaizen_analytics.reports.runner import Runner, RunRequest

CLOCK = 1_767_592_800_000


def fixed_clock() -> int:
    return CLOCK


def request(notebook: Path, out: Path, **options: object) -> RunRequest:
    parameters = options.pop("parameters", {})
    return RunRequest(report=read_report(notebook), parameters=parameters, out=out, **options)


def test_the_process_that_is_forked_has_no_threads() -> None:
    source = "import os, kaizen_analytics.reports.preload; print(len(os.listdir('/proc/self/task')))"
    if not Path("/proc/self/task").is_dir():
        pytest.skip("counts threads in /proc")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    counted = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, env=environment
    )
    assert counted.stdout == "1\n"


@pytest.mark.slow
def test_a_crash_takes_only_its_own_report(write_notebook, tmp_path: Path) -> None:
    requests = [
        request(write_notebook("print('fine')", name="fine"), tmp_path),
        request(write_notebook("import os; os._exit(0)", name="dies"), tmp_path),
        request(write_notebook("1 / 0", "print('never')", name="raises"), tmp_path),
        request(write_notebook("import sys; sys.exit(0)", name="leaves"), tmp_path),
        request(write_notebook("import time; time.sleep(600)", name="hangs"), tmp_path, timeout_s=10),
        request(write_notebook("1", name="unknown"), tmp_path, parameters={"nam": "x"}),
    ]
    outcomes = dict(run_batch(requests, jobs=3, fast=True))
    codes = [outcomes[number].exit_code for number in range(len(requests))]
    assert codes == [0, 138, 1, 1, 124, 2]
    assert isinstance(outcomes[5], ConfigError)
    for number in (1, 2, 3, 4):
        assert outcomes[number].folder.parent.name == "_failed"
        assert outcomes[number].record.error
    assert outcomes[2].record.error == "Code cell 3 of 4 failed: ZeroDivisionError: division by zero"
    assert not list(tmp_path.rglob(".staging-*"))


def test_the_page_is_the_same_with_and_without_a_kernel(write_notebook, tmp_path: Path) -> None:
    notebook = write_notebook("print('text', count)", "import polars as pl\npl.DataFrame({'a': [1, 2]})", "{'b': 1}")
    runner = Runner(clock=fixed_clock)
    slow = runner.run(request(notebook, tmp_path / "slow"))
    [(_, fast)] = run_batch([request(notebook, tmp_path / "fast")], jobs=1, fast=True, runner=runner)
    for name in ("report.html", "report.md", "report.json"):
        assert (fast.folder / name).read_bytes() == (slow.folder / name).read_bytes(), name


def test_one_command_makes_a_report_for_each_value_of_its_subject(write_notebook, start_report, tmp_path: Path) -> None:
    notebook = write_notebook("assert name != 'bad'", subject="name")
    subjects = [option for name in ("one", "bad", "two") for option in ("-p", f"name={name}")]
    process = start_report(notebook, tmp_path / "reports", *subjects, "--fast", "--jobs", "2", "--json")
    printed, error = process.communicate(timeout=120)
    assert process.returncode == 1, error
    runs = json.loads(printed)
    assert [(run["subject"], run["state"]) for run in runs] == [
        ("one", "success"),
        ("bad", "failed"),
        ("two", "success"),
    ]
    assert sorted(path.parent.parent.name for path in (tmp_path / "reports").rglob("latest/report.html")) == [
        "one",
        "two",
    ]


def test_only_the_subject_may_be_given_several_times(write_notebook, start_report, tmp_path: Path) -> None:
    process = start_report(write_notebook("1", subject="name"), tmp_path, "-p", "count=1", "-p", "count=2")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "The parameter count is given twice: '1' and '2'." in error
