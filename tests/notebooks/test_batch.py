"""Several reports at once, each in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.reports.catalogue import read_report
from kaizen_analytics.reports.due import run_batch
from kaizen_analytics.reports.runner import RunRequest


def request(notebook: Path, out: Path, **options: object) -> RunRequest:
    parameters = options.pop("parameters", {})
    return RunRequest(report=read_report(notebook), parameters=parameters, out=out, **options)


@pytest.mark.slow
def test_a_crash_takes_only_its_own_report(write_notebook, tmp_path: Path) -> None:
    requests = [
        request(write_notebook("print('fine')", name="fine"), tmp_path),
        request(write_notebook("import os; os._exit(0)", name="dies"), tmp_path),
        request(write_notebook("1 / 0", "print('never')", name="raises"), tmp_path),
        request(write_notebook("import sys; sys.exit(0)", name="leaves"), tmp_path),
        request(write_notebook("import time; time.sleep(600)", name="hangs"), tmp_path, timeout_s=10),
        request(write_notebook("1", name="unknown"), tmp_path, parameters={"nam": "x"}),
        request(write_notebook("import os; os.kill(os.getppid(), 9)", name="kills"), tmp_path),
    ]
    outcomes = dict(run_batch(requests, jobs=3))
    codes = [outcomes[number].exit_code for number in range(len(requests))]
    assert codes == [0, 138, 1, 1, 124, 2, 138]
    assert isinstance(outcomes[5], ConfigError)
    assert outcomes[6].record.error == "The process of the report died."
    for number in (1, 2, 3, 4, 6):
        assert outcomes[number].folder.parent.name == "_failed"
        assert outcomes[number].record.error
    assert outcomes[2].record.error == "Code cell 3 of 4 failed: ZeroDivisionError: division by zero"
    assert not list(tmp_path.rglob(".staging-*"))


def test_one_command_makes_a_report_for_each_value_of_its_subject(write_notebook, start_report, tmp_path: Path) -> None:
    notebook = write_notebook("assert name != 'bad'", subject="name")
    subjects = [option for name in ("one", "bad", "two") for option in ("-p", f"name={name}")]
    process = start_report(notebook, tmp_path / "reports", *subjects, "--jobs", "2", "--json")
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
