"""The notebooks for analysts as pages, from their committed outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from chromium_pipe import Browser
from page_checks import VIEWS, Elements, check_page

from kaizen_analytics.reports.rendering import RunFacts, render_report

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("[345]0_*.ipynb"))
FACTS = RunFacts(title="Analysis", run_id="r", fingerprint="f" * 64, made_at_ms=0, versions={})


def render(notebook: Path, folder: Path) -> Path:
    page = folder / notebook.stem / "latest" / "page.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(render_report(nbformat.read(notebook, as_version=4), ("html",), FACTS)["report.html"])
    return page


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_has_no_code_and_every_chart_has_a_name(notebook: Path, tmp_path: Path) -> None:
    text = render(notebook, tmp_path).read_text(encoding="utf-8")
    elements = Elements(text)
    assert "script" not in elements.names
    assert "open_analysis(" not in text
    labels = [value for name, value in elements.attributes if name == "aria-label" and value != "Contents"]
    assert len(labels) == text.count("<figure>") >= 2
    assert all(len(label) > 40 for label in labels)


@pytest.mark.system
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_in_a_browser(browser: Browser, notebook: Path, tmp_path: Path) -> None:
    page = render(notebook, tmp_path)
    for view in VIEWS:
        check_page(browser, page, view, tmp_path)
