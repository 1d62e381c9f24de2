"""The notebooks of reports against their committed outputs, cell by cell."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import execute_notebooks
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SANITIZE = Path(__file__).with_name("nbval.cfg")
STRICT = tuple(execute_notebooks.PARAMETERS)
ANALYST = [path.name for path in sorted(execute_notebooks.NOTEBOOKS.glob("[345]0_*.ipynb"))]


def run_nbval(notebooks: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-rf", "-c", os.devnull, "-p", "no:cacheprovider"]
    nbval = [*options, "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}", "--nbval-cell-timeout=120"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*command, *nbval, *map(str, notebooks)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=notebooks[0].parent,
    )


def inject(store: Path, folder: Path) -> list[Path]:
    """Write the strict notebooks with the parameters of the sample and their committed outputs into a folder."""
    paths = [folder / f"{name}.ipynb" for name in STRICT]
    for path in paths:
        path.write_text(nbformat.writes(execute_notebooks.inject(path.stem, store)), encoding="utf-8")
    return paths


@pytest.mark.long  # test_golden.py compares the same outputs with those of the reports
def test_the_committed_outputs_are_those_of_the_sample(sample_store: Path, tmp_path: Path) -> None:
    checked = run_nbval(inject(sample_store, tmp_path), "--nbval")
    assert checked.returncode == 0, checked.stdout
    cells = [cell for name in STRICT for cell in read(name).cells if cell.cell_type == "code"]
    assert f"{len(cells) + len(STRICT)} passed" in checked.stdout


def test_what_versions_may_change_hides_no_number() -> None:
    patterns = ConfigParser(interpolation=None)
    patterns.read(SANITIZE)
    for section in patterns.sections():
        assert (
            re.sub(patterns[section]["regex"], patterns[section]["replace"], "3 experiments, 4.5")
            == "3 experiments, 4.5"
        )


@pytest.mark.parametrize("name", STRICT)
def test_every_code_cell_was_executed_and_shows_what_it_ends_in(name: str) -> None:
    """A notebook without outputs would pass nbval unseen."""
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    showing = [cell for cell in cells if isinstance(ast.parse(cell.source).body[-1], ast.Expr)]
    assert len(showing) >= 7
    assert [cell.source for cell in showing if not cell.outputs] == []


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(execute_notebooks.NOTEBOOKS / f"{name}.ipynb", as_version=4)
