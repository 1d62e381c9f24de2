"""Notebooks of others that are shared: a page with a leak is not published, and the record names nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.publication import RunState, find_records
from kaizen_analytics.reports.runner import Runner, RunRequest

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.reports.runner import RunResult

PERSON, SECRET = "maria.quandt@corp.io", "ghp_" + "q7Zk2Lw9" * 4 + "b3Xn"
PROSE = f"ask {PERSON} for API_KEY={SECRET}"
pytestmark = pytest.mark.usefixtures("without_kernel")
DECODED = "bytes.fromhex(text).decode()"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "kaizen"))


def make(notebook: Path, out: Path, formats: tuple[str, ...], **parameters: object) -> RunResult:
    report = load_report(notebook)
    return Runner().run(RunRequest(report=report, parameters=parameters, out=out, formats=formats, share=True))


@pytest.mark.parametrize("cell", ["print({})", "raise ValueError({})"])
def test_a_notebook_that_shows_a_secret_publishes_nothing(write_notebook, tmp_path: Path, cell: str) -> None:
    notebook = write_notebook(f"text = {PROSE.encode().hex()!r}", cell.format(DECODED))
    (tmp_path / "out").mkdir()
    if "raise" in cell:
        assert make(notebook, tmp_path / "out", ("html", "ipynb")).record.state is RunState.FAILED
    else:
        with pytest.raises(RedactionError, match="that must not leave"):
            make(notebook, tmp_path / "out", ("html", "ipynb"))
    [(folder, record)] = find_records(tmp_path / "out")
    assert record.state is (RunState.FAILED if "raise" in cell else RunState.WITHHELD)
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    kept = (folder / "run.json").read_text()
    assert [part for part in (PERSON, SECRET) if part in kept] == []
    assert not list((tmp_path / "out").rglob("latest"))


def test_the_command_line_says_that_nothing_was_published(write_notebook, tmp_path: Path) -> None:
    notebook = write_notebook("print('/home/' + 'maria' + '/x')")
    command = ["report", "run", str(notebook), "--share", "--format", "md", "--out", str(tmp_path / "out")]
    with pytest.raises(RedactionError, match=r"report\.md held 1 value.*home-folder") as caught:
        app(command, standalone_mode=False)
    assert "maria" not in str(caught.value)


def test_a_secret_in_the_metadata_of_a_notebook_publishes_nothing(write_notebook, tmp_path: Path) -> None:
    with pytest.raises(RedactionError, match=r"report\.ipynb held 1 value"):
        make(write_notebook("1 + 1", author=PERSON), tmp_path / "out", ("ipynb",))


def test_the_names_of_this_machine_are_not_in_the_record(write_notebook, tmp_path: Path) -> None:
    notebook = write_notebook("1 + 1", parameters='name: str = ""')
    result = make(notebook, tmp_path / "out", ("md", "ipynb"), name="/home/maria/x")
    record = json.loads((result.folder / "run.json").read_text())
    assert record["host"].startswith("<R:ho:")
    assert "maria" not in (result.folder / "run.json").read_text() + (result.folder / "report.ipynb").read_text()
