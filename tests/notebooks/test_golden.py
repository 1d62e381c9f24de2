"""Every report on the sample against what was read and committed: as Markdown, and cell by cell in the notebooks.

`python data/write_golden.py` renews the Markdown, `python data/execute_notebooks.py` the notebooks.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import execute_notebooks
import nbformat
import pytest
import write_golden
from chromium_pipe import Browser
from page_checks import VIEWS, check_page

from kaizen_analytics.pages.documents import retro_document
from kaizen_analytics.pages.retro import whole
from kaizen_analytics.reports.runner import RunResult
from kaizen_analytics.retro.retro import compute_retro, parse_week
from kaizen_analytics.store import Store

COMMITTED = {
    "10_experiment_conclusion": "conclusion-small-model",
    "15_portfolio": "portfolio",
    "20_retro_summary": "retro-2026-w38",
}
"""Each committed notebook, and the golden report that is run with the same parameters."""


def test_every_golden_file_belongs_to_a_report() -> None:
    assert {path.stem for path in write_golden.GOLDEN.glob("*.md")} == set(write_golden.REPORTS)
    for name, report in COMMITTED.items():
        assert execute_notebooks.PARAMETERS[name] == write_golden.REPORTS[report][1]


@pytest.mark.parametrize("name", write_golden.REPORTS)
def test_a_report_on_the_sample_reads_as_committed(sample_reports: dict[str, RunResult], name: str) -> None:
    text = write_golden.normalise((sample_reports[name].folder / "report.md").read_text(encoding="utf-8"))
    golden = (write_golden.GOLDEN / f"{name}.md").read_text(encoding="utf-8")
    changed = list(difflib.unified_diff(golden.splitlines(), text.splitlines(), "committed", "made", lineterm="", n=1))
    assert not changed, "\n".join(["If this is meant, python data/write_golden.py renews the files:", *changed])


def show_cells(notebook: Any) -> list[tuple[str, list[str]]]:
    """Return the source of the cells with code and what each shows, without versions and the parameters of a run."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [cell for cell in cells if "injected-parameters" not in cell.metadata.get("tags", ())]
    data = [[output.get("data", output.get("text")) for output in cell.outputs] for cell in shown]
    return [
        (cell.source, [write_golden.normalise(json.dumps(one, indent=1, sort_keys=True)) for one in outputs])
        for cell, outputs in zip(shown, data, strict=True)
    ]


@pytest.mark.parametrize("name", COMMITTED)
def test_the_outputs_of_a_report_are_those_of_the_committed_notebook(
    sample_reports: dict[str, RunResult], name: str
) -> None:
    committed = nbformat.read(execute_notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    made = nbformat.read(sample_reports[COMMITTED[name]].folder / "report.ipynb", as_version=4)
    for (source, before), (also, after) in zip(show_cells(committed), show_cells(made), strict=True):
        assert (source, before) == (also, after)


# The page of the retro


@pytest.fixture
def page(sample_reports: dict[str, RunResult]) -> Path:
    return sample_reports["retro-2026-w38"].page


def test_the_page_and_the_function_say_the_same(page: Path, sample_store: Path) -> None:
    with Store.open(sample_store, read_only=True) as opened:
        window = parse_week("2026-W38")
        retro = compute_retro(opened, window, now_ms=window.end_ms)
    document = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    document.pop("run")

    assert document == retro_document(retro)
    assert document["totals"]["sessions"] > 50
    assert str(document["totals"]["sessions"]) in whole(retro).markdown


def test_a_report_saves_nothing_unless_asked(page: Path, sample_store: Path) -> None:
    with Store.open(sample_store, read_only=True) as opened:
        assert page.exists()
        assert opened.native("select count(*) from ka_retros") == [("0",)]


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, page: Path, view: str, tmp_path: Path) -> None:
    check_page(browser, page, view, tmp_path)
