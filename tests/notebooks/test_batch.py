"""Several reports at once, each in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.publication import RunState
from kaizen_analytics.reports.runner import RunRequest, run_batch


def request(notebook: Path, out: Path, **options: object) -> RunRequest:
    parameters = options.pop("parameters", {})
    return RunRequest(report=load_report(notebook), parameters=parameters, out=out, **options)


def wait_until_gone(kernel: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{kernel}").exists():
        assert time.monotonic() < deadline, f"the kernel {kernel} is still there"
        time.sleep(0.05)


FAILURES = [
    ("dies", "import os; os._exit(0)", 138, RunState.KERNEL_DIED, "cell 3 of 4"),
    ("hangs", "import time; time.sleep(600)", 124, RunState.TIMED_OUT, "longer than 8 s, in cell 3 of 4"),
    ("kills", "import os; os.kill(os.getppid(), 9)", 138, RunState.KERNEL_DIED, "The process of the report died."),
]
"""A notebook's name and first cell, the exit code of its run, its state and the reason."""


@pytest.mark.long
def test_a_crash_takes_only_its_own_report(write_notebook, tmp_path: Path) -> None:
    announced = "import os, pathlib; pathlib.Path({!r}).write_text(str(os.getpid())); {}"
    requests = [request(write_notebook("print('fine')", name="fine"), tmp_path)]
    requests += [request(write_notebook("1", name="unknown"), tmp_path, parameters={"nam": "x"})]
    for name, cell, *_ in FAILURES:
        notebook = write_notebook(announced.format(str(tmp_path / name), cell), "print('never')", name=f"n-{name}")
        requests.append(request(notebook, tmp_path, timeout_s=8 if name == "hangs" else 60))
    outcomes = dict(run_batch(requests, jobs=3))
    assert outcomes[0].exit_code == 0
    assert isinstance(outcomes[1], ConfigError)
    for number, (name, _, code, state, said) in enumerate(FAILURES, start=2):
        found = outcomes[number]
        assert (name, found.exit_code, found.record.state) == (name, code, state)
        assert said in found.record.error
        assert found.folder.parent.name == "_failed"
        files = {"run.json"} if name == "kills" else {"run.json", "report.ipynb"}
        assert {path.name for path in found.folder.iterdir()} == files
        wait_until_gone(int((tmp_path / name).read_text()))
    assert not list(tmp_path.rglob(".staging-*"))


@pytest.mark.long
def test_one_command_makes_a_report_for_each_value_of_its_subject(write_notebook, program, tmp_path: Path) -> None:
    notebook = write_notebook("assert name != 'bad'", subject="name")
    subjects = [option for name in ("bad", "good") for option in ("-p", f"name={name}")]
    answer = program("report", "run", notebook, "--out", tmp_path / "reports", *subjects, "--jobs", "2", "--json")
    assert answer.code == 1, answer.err
    assert [(run["subject"], run["state"]) for run in answer.json()] == [("bad", "failed"), ("good", "success")]
    assert [path.parent.parent.name for path in (tmp_path / "reports").rglob("latest/report.html")] == ["good"]


def test_only_the_subject_may_be_given_several_times(write_notebook, program, tmp_path: Path) -> None:
    notebook = write_notebook("1", subject="name")
    answer = program("report", "run", notebook, "--out", tmp_path, "-p", "count=1", "-p", "count=2")
    assert answer.code == 2
    assert "The parameter count is given twice: '1' and '2'." in answer.err
