"""Reports to be shared: no canary of a store reaches any byte of them, and a page with a leak is not published."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest
from share_canaries import EXPERIMENT_NAME, START_MS, Canaries, list_text_columns, write_store

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.reports.catalogue import load_report, read_report
from kaizen_analytics.reports.ledger import RunState, find_records
from kaizen_analytics.reports.runner import Runner, RunRequest
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.reports.runner import RunResult

NOW = "2026-10-05T00:00:00Z"
NOW_MS = START_MS + 7 * 86_400_000
FORMATS = ("html", "md", "json", "ipynb")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("share")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAIZEN_HOME", str(folder / "kaizen"))
        yield folder


@pytest.fixture(scope="module")
def canaries() -> Canaries:
    return Canaries(random.Random(os.urandom(8)))


@pytest.fixture(scope="module")
def experiment_id(home: Path, canaries: Canaries) -> str:
    return write_store(home / "kaizen.db", canaries)


@pytest.fixture(scope="module")
def conclusion(home: Path, experiment_id: str) -> RunResult:
    parameters = {"store": str(home / "kaizen.db"), "experiment_id": experiment_id, "now": NOW}
    return make(load_report("experiment_conclusion"), parameters, home / "out")


@pytest.fixture(scope="module")
def retro(home: Path, experiment_id: str) -> RunResult:
    assert experiment_id
    parameters = {"store": str(home / "kaizen.db"), "week": "2026-W40", "now": NOW}
    return make(load_report("retro_summary"), parameters, home / "out")


@pytest.fixture(scope="module")
def portfolio(home: Path, experiment_id: str) -> RunResult:
    assert experiment_id
    return make(load_report("portfolio"), {"store": str(home / "kaizen.db"), "now": NOW}, home / "out")


def make(report, parameters: dict[str, object], out: Path, *, formats: tuple[str, ...] = FORMATS) -> RunResult:
    request = RunRequest(report=report, parameters=parameters, out=out, formats=formats, share=True)
    return Runner(clock=lambda: NOW_MS).run(request)


def test_every_text_column_holds_canaries(home: Path, experiment_id: str, canaries: Canaries) -> None:
    assert experiment_id
    with Store.open(home / "kaizen.db", read_only=True) as store:
        empty = [
            f"{table}.{column}"
            for table, columns in list_text_columns(store).items()
            for column in columns
            if not canaries.find_in(repr(store.native(f"select {column} from {table}")).encode())
        ]
    assert set(empty) == {"sessions.parent_session_id"}  # it would hide its session from the arms


@pytest.mark.parametrize("name", ["conclusion", "portfolio", "retro"])
def test_no_canary_reaches_an_artefact(name: str, canaries: Canaries, request: pytest.FixtureRequest) -> None:
    result: RunResult = request.getfixturevalue(name)
    assert result.record.state is RunState.SUCCESS
    files = [path for path in result.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {f"report.{kind}" for kind in FORMATS} | {"run.json"}
    found = {path.name: canaries.find_in(path.read_bytes()) for path in files}
    assert found == {name: [] for name in found}
    assert canaries.find_in(str(result.folder).encode()) == []


def test_the_page_still_says_what_was_tried(conclusion: RunResult) -> None:
    page = (conclusion.folder / "report.md").read_text()
    assert EXPERIMENT_NAME in page
    assert "12 control, 12 treatment" in page
    assert "R:em:" in page


def test_what_a_name_holds_stays_text(conclusion: RunResult) -> None:
    page, document = ((conclusion.folder / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "<b>*Ask*" not in page
    assert "&lt;b&gt;*Ask*" in page
    assert "<b>*Ask*" not in document
    assert "<script" not in page
    assert "script-src" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_without_share_the_same_report_holds_them(home: Path, experiment_id: str, canaries: Canaries) -> None:
    parameters = {"store": str(home / "kaizen.db"), "experiment_id": experiment_id, "now": NOW}
    request = RunRequest(report=load_report("experiment_conclusion"), parameters=parameters, out=home / "own")
    result = Runner(clock=lambda: NOW_MS).run(request)
    assert canaries.find_in((result.folder / "report.html").read_bytes())


@pytest.mark.parametrize("formats", [["md"], ["html"], ["json"], []])
def test_a_retro_on_the_command_line(
    home: Path, experiment_id: str, canaries: Canaries, formats: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert experiment_id
    options = ["--format", *formats] if formats else []
    command = ["retro", "--week", "2026-W40", "--dry-run", "--share", "--store", str(home / "kaizen.db"), *options]
    app(command, standalone_mode=False)
    shown = capsys.readouterr().out
    assert "R:em:" in shown
    assert canaries.find_in(shown.encode()) == []


@pytest.mark.parametrize("cell", ["print({!r})", "{!r}", "raise ValueError({!r})"])
def test_a_notebook_that_shows_a_secret_publishes_nothing(write_notebook, tmp_path: Path, cell: str) -> None:
    canaries = Canaries(random.Random(7))
    prose = canaries.prose()
    report = read_report(write_notebook(f"text = {prose.encode().hex()!r}", cell.format(0).replace("0", DECODED)))
    (tmp_path / "out").mkdir()
    if "raise" in cell:
        assert make(report, {}, tmp_path / "out").record.state is RunState.FAILED
    else:
        with pytest.raises(RedactionError, match="that must not leave"):
            make(report, {}, tmp_path / "out")
    [(folder, record)] = find_records(tmp_path / "out")
    assert record.state is (RunState.FAILED if "raise" in cell else RunState.WITHHELD)
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    assert canaries.find_in((folder / "run.json").read_bytes()) == []
    assert not list((tmp_path / "out").rglob("latest"))


def test_the_command_line_says_that_nothing_was_published(write_notebook, tmp_path: Path) -> None:
    notebook = write_notebook("print('/home/' + 'maria' + '/x')")
    command = ["report", "run", str(notebook), "--share", "--format", "md", "--out", str(tmp_path / "out")]
    with pytest.raises(RedactionError, match=r"report\.md held 1 value.*home-folder") as caught:
        app(command, standalone_mode=False)
    assert "maria" not in str(caught.value)


DECODED = "bytes.fromhex(text).decode()"


def test_a_secret_in_the_metadata_of_a_notebook_publishes_nothing(write_notebook, tmp_path: Path) -> None:
    canaries = Canaries(random.Random(8))
    report = read_report(write_notebook("1 + 1", author=canaries.email()))
    with pytest.raises(RedactionError, match=r"report\.ipynb held 1 value"):
        make(report, {}, tmp_path / "out", formats=("ipynb",))


def test_the_names_of_this_machine_are_not_in_the_record(write_notebook, tmp_path: Path) -> None:
    report = read_report(write_notebook("1 + 1", parameters='name: str = ""'))
    result = make(report, {"name": "/home/maria/x"}, tmp_path / "out", formats=("md", "ipynb"))
    record = json.loads((result.folder / "run.json").read_text())
    assert record["host"].startswith("<R:ho:")
    assert "maria" not in (result.folder / "run.json").read_text() + (result.folder / "report.ipynb").read_text()
