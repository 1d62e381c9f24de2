"""docs/how-to/notebooks.md says what the code does, and every method names the columns that it returns."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import json
import re
from pathlib import Path

import polars as pl
import pytest

import kaizen_analytics
from kaizen_analytics import Metric, open_analysis, sample_store
from kaizen_analytics.analysis import Analysis

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "notebooks.md").read_text(encoding="utf-8")
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
METHODS = {name for name, _ in inspect.getmembers(Analysis, inspect.isfunction) if not name.startswith("_")}


@pytest.fixture(scope="module")
def analysis() -> Analysis:
    return open_analysis(sample_store())


def test_every_method_is_in_the_table_with_arguments_that_exist() -> None:
    documented = dict(re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", TEXT, flags=re.MULTILINE))
    assert set(documented) == METHODS
    for name, arguments in documented.items():
        known = set(inspect.signature(getattr(Analysis, name)).parameters)
        assert set(re.findall(r"\w+", arguments)) <= known, name


def test_the_notebooks_that_are_named_exist() -> None:
    named = re.findall(r"^\| `(\d\d_\w+)` \|", TEXT, flags=re.MULTILINE)
    assert named == [path.stem for path in sorted(NOTEBOOKS.glob("[345]0_*.ipynb"))]


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[345]0_*.ipynb")), ids=lambda path: path.stem)
def test_analysts_copy_public_names_only(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import | ast.ImportFrom)]
    ours = [node for node in imports if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in ours} == {"kaizen_analytics"}
    assert {alias.name for node in ours for alias in node.names} <= set(kaizen_analytics.__all__)
    assert {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names} <= {
        "altair",
        "polars",
    }


def test_every_column_of_a_frame_is_in_the_docstring(analysis: Analysis) -> None:
    session_id = analysis.sessions()["session_id"][0]
    arguments = {"events": [session_id], "timeline": [session_id], "usage": [["week", "model"]]}
    metrics = {metric.column for metric in Metric}
    for name in ("sessions", "metrics", "usage", "tools", "events", "timeline", "experiments"):
        method = getattr(analysis, name)
        frame = method(*arguments.get(name, []))
        assert isinstance(frame, pl.DataFrame)
        assert not frame.is_empty()
        text = inspect.getdoc(method) or ""
        expected = set(frame.columns) - (metrics if name == "metrics" else set())
        assert [column for column in sorted(expected) if f"`{column}`" not in text] == [], name


@pytest.mark.slow
@pytest.mark.long
def test_the_examples_print_what_the_page_says() -> None:
    blocks = re.findall(r"^```(python|text)\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    printed = io.StringIO()
    for kind, body in blocks:
        if kind == "text":
            assert printed.getvalue() == body
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(body, "docs/how-to/notebooks.md", "exec"), names)
    assert 'role="img"' in names["chart"].html
