"""Small notebooks for the tests of report runs."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kaizen_analytics.reports.runner import RunResult, _Execution

pytest.register_assert_rewrite("page_checks")

PARAMETERS = 'name: str = ""  # any name\ncount: int = 3\nshare: float = 0.5\nflag: bool = False'


@pytest.fixture(scope="session")
def sample_store(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the sample's store under the name that the committed reports show."""
    return shutil.copy(sample_store, tmp_path_factory.mktemp("sample") / "kaizen.db")


@pytest.fixture(scope="session")
def sample_reports(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """Return the runs of every report on the sample, in all formats, by the names of their golden files.

    The portfolio is made alone: it has links to the conclusions that it finds beside it.
    """
    import write_golden

    out, formats = tmp_path_factory.mktemp("reports"), ("html", "md", "json", "ipynb")
    others = tuple(name for name in write_golden.REPORTS if name != "portfolio")
    made = write_golden.make_reports(sample_store, out / "alone", formats, ("portfolio",))
    return made | write_golden.make_reports(sample_store, out / "others", formats, others)


@pytest.fixture(scope="module")
def sessions_store(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the sample's sessions, without its experiments."""
    from kaizen_analytics.store import Store

    path = shutil.copy(sample_store, tmp_path_factory.mktemp("sessions") / "kaizen.db")
    with Store.open(path) as store, store.write():
        for table in ("experiments", "experiment_tags", "ka_tag_log", "ka_plans", "ka_results", "ka_samples"):
            store.native(f"delete from {table} returning 1")
    return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[..., str]):
    """Return a headless Chromium; tests with it are skipped (failed under CI_STRICT=1) where there is none."""
    from chromium_pipe import Browser

    program = need_tool("chromium", "chromium-browser", "google-chrome")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def write_notebook(tmp_path: Path):
    """Return a function that writes a notebook of the given cells and returns its path."""
    import nbformat

    def write(*sources: str, name: str = "sample", parameters: str = PARAMETERS, **declared: object) -> Path:
        v4 = nbformat.v4
        notebook = v4.new_notebook()
        notebook.cells = [v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
        notebook.cells += [v4.new_code_cell(source) for source in sources]
        notebook.metadata["kaizen"] = {"title": "Sample", **declared}
        path = tmp_path / f"{name}.ipynb"
        path.write_text(nbformat.writes(notebook), encoding="utf-8")
        return path

    return write


@pytest.fixture
def without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the cells of notebooks in this process: for tests of what becomes of their outputs."""
    monkeypatch.setattr("kaizen_analytics.reports.runner._execute", _run_cells)


def _run_cells(notebook: Any, parameters: dict[str, object], **_: object) -> _Execution:
    import nbformat

    from kaizen_analytics.reports.runner import _judge_execution

    run, names = copy.deepcopy(notebook), {}
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    run.cells.insert(1, nbformat.v4.new_code_cell(given, metadata={"tags": ["injected-parameters"]}))
    for number, cell in enumerate(run.cells, start=1):
        cell.execution_count, printed = number, io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(cell.source, names)
        except Exception as error:  # noqa: BLE001 - as a kernel does
            told = {"ename": type(error).__name__, "evalue": str(error), "traceback": [traceback.format_exc()]}
            cell.outputs.append(nbformat.v4.new_output("error", **told))
            break
        if printed.getvalue():
            cell.outputs.append(nbformat.v4.new_output("stream", text=printed.getvalue()))
    return _judge_execution(run)


@pytest.fixture
def start_report():
    """Return a function that starts `report run` in a process of its own; what is left is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(notebook: Path, out: Path, *options: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "kaizen_analytics",
            "report",
            "run",
            str(notebook),
            "--out",
            str(out),
            *options,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
