"""Execute the shipped notebooks on the sample and keep their outputs: what a reader sees, and what nbval compares.

    python data/execute_notebooks.py [FOLDER]

The parameters of the sample are injected for the run and taken out again, so the notebooks keep their own defaults.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from sample_store import write_store

INJECTED = "injected-parameters"
NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
PARAMETERS: dict[str, dict[str, str]] = {
    "10_experiment_conclusion": {"experiment_id": "small-model", "now": "2026-10-05T08:00:00Z"},
    "15_portfolio": {"now": "2026-10-05T08:00:00Z"},
    "20_retro_summary": {"week": "2026-W38", "now": "2026-09-21T00:00:00Z"},
}
"""What each report is run with, besides the store."""
ANALYST = ("30_explore_sessions", "40_design_an_experiment", "50_cost_and_tokens")
"""Notebooks to copy from; their own defaults fit the sample."""


def inject(name: str, store: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    """Return the notebook `name` with the parameters of the sample in a cell of their own."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    given = {"store": str(store), **PARAMETERS.get(name, {})}
    source = "\n".join(f"{parameter} = {value!r}" for parameter, value in given.items())
    declared = next(place for place, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    notebook.cells.insert(declared + 1, nbformat.v4.new_code_cell(source, metadata={"tags": [INJECTED]}))
    return notebook


def execute(name: str, store: Path) -> Any:  # noqa: ANN401
    """Return the notebook `name` with the outputs of a run on `store`."""
    notebook = inject(name, store)
    NotebookClient(notebook, kernel_name="python3").execute()
    notebook.cells = [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", ())]
    for place, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = place
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = place
    return notebook


def main(folder: Path) -> None:
    """Execute every notebook and write it below `folder`."""
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "kaizen.db"
        write_store(store)
        for name in (*PARAMETERS, *ANALYST):
            (folder / f"{name}.ipynb").write_text(nbformat.writes(execute(name, store)) + "\n", encoding="utf-8")
            print(folder / f"{name}.ipynb")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOKS)
