"""Every report on the sample against what was read and committed: as Markdown, and cell by cell in the notebooks.

`python data/write_golden.py` renews the Markdown, `python data/execute_notebooks.py` the notebooks.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

import execute_notebooks
import nbformat
import pytest
import write_golden

if TYPE_CHECKING:
    from kaizen_analytics.reports.runner import RunResult

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
