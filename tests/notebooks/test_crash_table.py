"""Whatever happens to a run: its exit code, what it leaves, and that the last good report is untouched."""

from __future__ import annotations

import json
import os
import random
import signal
import string
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from kaizen_analytics.core.errors import ConfigError, StoreMissingError
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.publication import RunState, find_records, read_record
from kaizen_analytics.reports.runner import BusyError, Runner, RunRequest, RunResult

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder with one good report, as a run before the crash left it."""
    folder = tmp_path / "reports"
    good = folder / "sample" / "20260105T060000Z-00000000"
    good.mkdir(parents=True)
    (good / "report.html").write_text("the last good report")
    (folder / "sample" / "latest").symlink_to(good.name)
    return folder


# The notebook as executed has one more cell: the parameters of the run, after the declared ones.


def run(notebook: Path, out: Path, **parameters: object) -> RunResult:
    return Runner().run(RunRequest(report=load_report(notebook), parameters=parameters, out=out))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_untouched(out: Path) -> None:
    """Assert that the good report is still the latest one and that nothing half-made lies beside it."""
    sample = out / "sample"
    assert (sample / "latest" / "report.html").read_text() == "the last good report"
    assert names(sample) <= {"latest", "20260105T060000Z-00000000", ".lock", "_failed"}


def assert_failed(out: Path, state: RunState, *, notebook: bool) -> dict[str, object]:
    assert_untouched(out)
    [folder] = (out / "sample" / "_failed").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert (record["state"], names(folder)) == (state, {"run.json", *(["report.ipynb"] if notebook else [])})
    return record


def wait_until_running(out: Path) -> int:
    """Wait until the kernel of the only run works on a cell, and return the process that runs it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        marks = list(out.glob("started"))
        if marks and marks[0].read_text():
            return int(marks[0].read_text())
        time.sleep(0.05)
    raise AssertionError("the notebook did not start")


def announce(out: Path) -> str:
    return f"import os, pathlib; pathlib.Path({str(out / 'started')!r}).write_text(str(os.getpid()))"


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError(f"the kernel {pid} is still there")


@pytest.mark.usefixtures("without_kernel")
def test_a_secret_in_a_traceback_is_kept_nowhere(write_notebook, out: Path) -> None:
    secret = "".join(random.Random(7).choices(string.ascii_letters + string.digits, k=24))
    cells = f"key = {secret[::-1]!r}[::-1]; print(key)", "raise ValueError(f'refused: api_key={key}')"
    result = run(write_notebook(*cells), out)
    record = assert_failed(out, RunState.FAILED, notebook=True)
    assert str(record["error"]).startswith("Code cell 4 of 4 failed: ValueError: refused: api_key=<R:kv>")
    kept = [path.read_text() for path in result.folder.iterdir()]
    assert [text for text in kept if secret in text] == []


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("1 / 0", "Code cell 3 of 4 failed: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "Code cell 3 of 4 left the notebook with sys.exit(0)."),
    ],
)
def test_a_cell_that_ends_the_run(write_notebook, out: Path, cell: str, said: str) -> None:
    result = run(write_notebook(f"{announce(out)}; {cell}", "print('never')"), out)
    assert result.exit_code == 1
    assert said in str(assert_failed(out, RunState.FAILED, notebook=True)["error"])
    wait_until_gone(int((out / "started").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_a_run_that_is_stopped(write_notebook, start_report, out: Path, number: signal.Signals) -> None:
    process = start_report(write_notebook(announce(out), "import time; time.sleep(600)"), out)
    kernel = wait_until_running(out)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert_failed(out, RunState.INTERRUPTED, notebook=False)
    wait_until_gone(kernel)


def test_a_run_that_is_killed_is_found_by_the_next(write_notebook, start_report, out: Path) -> None:
    process = start_report(write_notebook(announce(out), "import time; time.sleep(600)"), out)
    kernel = wait_until_running(out)
    process.kill()
    process.wait(30)
    wait_until_gone(kernel)

    result = run(write_notebook("1 + 1"), out)

    assert result.exit_code == 0
    [folder] = (out / "sample" / "_failed").iterdir()
    record = read_record(folder)
    assert record is not None
    assert (record.state, record.error) == (RunState.ABANDONED, f"Process {process.pid} disappeared during the run.")
    assert names(out / "sample") == {"latest", ".lock", "_failed", "20260105T060000Z-00000000", result.record.run_id}
    assert (out / "sample" / "20260105T060000Z-00000000" / "report.html").read_text() == "the last good report"


def test_two_runs_at_once(write_notebook, start_report, out: Path) -> None:
    first = start_report(write_notebook(announce(out), "import time; time.sleep(600)"), out)
    wait_until_running(out)
    with pytest.raises(BusyError, match=rf"Another run is writing .* \(process {first.pid} on ") as caught:
        run(write_notebook("1 + 1"), out)
    assert caught.value.exit_code == 75


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"nam": "x"}, ConfigError, r"no parameter 'nam'\. Did you mean 'name'\?"),
        ({"count": "3"}, ConfigError, r"Parameter count is '3' \(str\); expected a whole number"),
        ({"name": "none.db"}, StoreMissingError, "expected an existing file"),
    ],
)
def test_a_wrong_parameter_starts_nothing(write_notebook, tmp_path: Path, given, error, said) -> None:
    with pytest.raises(error, match=said) as caught:
        run(write_notebook("1 + 1", inputs=["name"] if "name" in given else []), tmp_path / "reports", **given)
    assert caught.value.exit_code == (2 if error is ConfigError else 74)
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_is_a_file(write_notebook, program, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    answer = program("report", "run", write_notebook("1 + 1"), "--out", tmp_path / "reports")
    assert answer.code == 74
    assert "choose a folder (--out)" in answer.err


@pytest.fixture
def small_disk(tmp_path: Path, need_tool, give_up):
    """Mount a file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        [need_tool("mount"), "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        give_up(f"cannot mount a tmpfs: {mounted.stderr.decode()}")
    yield folder
    subprocess.run([need_tool("umount"), str(folder)], check=True)


def fill(folder: Path) -> Path:
    path = folder / "filler"
    space = os.statvfs(folder)
    path.write_bytes(b"x" * (space.f_bavail * space.f_frsize))
    return path


@pytest.mark.system
@pytest.mark.parametrize("cell", ["print('x' * 500_000)", "print('small')"], ids=["by the report", "from the start"])
def test_a_full_disk(write_notebook, program, small_disk: Path, cell: str) -> None:
    good = run(write_notebook("print('good')"), small_disk)
    before = (good.folder / "report.html").read_bytes()
    filler = fill(small_disk) if "small" in cell else None

    answer = program("report", "run", write_notebook(cell), "--out", small_disk)

    assert answer.code == 74
    assert "free some space and run again" in answer.err
    assert (small_disk / "sample" / "latest" / "report.html").read_bytes() == before
    if filler is not None:
        filler.unlink()
    again = run(write_notebook("print('small')"), small_disk)
    assert again.exit_code == 0
    assert not [path for path in small_disk.rglob(".*") if path.name != ".lock"]


@pytest.mark.usefixtures("without_kernel")
def test_an_interrupted_notebook_is_not_taken_for_the_latest(write_notebook, out: Path) -> None:
    failed = run(write_notebook("1 / 0"), out)
    good = run(write_notebook("1 / 1"), out)
    found = {record.run_id: (folder, record.state, record.exit_code) for folder, record in find_records(out)}
    assert found == {
        good.record.run_id: (good.folder, RunState.SUCCESS, 0),
        failed.record.run_id: (failed.folder, RunState.FAILED, 1),
    }
    assert (out / "sample" / "latest").resolve() == good.folder


@pytest.mark.usefixtures("without_kernel")
def test_the_same_inputs_are_not_run_twice(write_notebook, out: Path) -> None:
    notebook = write_notebook("print(name)")
    first = run(notebook, out, name="007")
    second = run(notebook, out, name="007")
    other = run(notebook, out, name="7")
    assert (first.skipped, second.skipped, other.skipped) == (False, True, False)
    assert second.folder == first.folder
    assert "007" in (first.folder / "report.md").read_text()


@pytest.mark.usefixtures("without_kernel")
def test_a_slot_of_a_schedule_is_made_once_whatever_its_inputs(write_notebook, out: Path) -> None:
    report = load_report(write_notebook("print(count)"))
    first, second, other = (
        Runner().run(
            RunRequest(
                report=report, parameters={"count": count}, out=out, trigger="schedule:weekly", logical_at_ms=at_ms
            )
        )
        for count, at_ms in ((1, 1_000), (2, 1_000), (2, 2_000))
    )
    assert (first.skipped, second.skipped, other.skipped) == (False, True, False)
    assert second.record == first.record


@pytest.mark.usefixtures("without_kernel")
def test_every_file_is_private(write_notebook, tmp_path: Path) -> None:
    result = run(write_notebook("1 + 1"), tmp_path / "reports")
    assert result.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in result.folder.iterdir()} == {0o600}
