"""Executed notebooks as files: what an analyst's cells show, and what they cannot smuggle in."""

from __future__ import annotations

import json

import pytest
from nbformat import v4

from kaizen_analytics.core.errors import ReportError
from kaizen_analytics.pages.blocks import DATA_MIME
from kaizen_analytics.reports.rendering import RunFacts, find_data, render_report

FACTS = RunFacts(
    title="Sample", run_id="20260105T060000Z-00000000", fingerprint="ab" * 32, made_at_ms=0, versions={"python": "3.11"}
)


def notebook(*outputs: dict[str, object], markdown: str = "## Heading", metadata: dict[str, object] | None = None):
    cell = v4.new_code_cell("secret_code()", execution_count=1)
    cell.outputs = [v4.new_output("display_data", data=data, metadata=metadata or {}) for data in outputs]
    made = v4.new_notebook()
    made.cells = [v4.new_markdown_cell(markdown), cell]
    return made


def render(made, kind: str) -> str:
    [content] = render_report(made, (kind,), FACTS).values()
    return content.decode()


def test_code_is_not_shown() -> None:
    made = notebook({"text/plain": "shown"})
    for kind in ("html", "md"):
        assert "secret_code" not in render(made, kind)
        assert "shown" in render(made, kind)


def test_foreign_html_is_reduced_to_its_tables() -> None:
    table = (
        "<style>td{}</style><div onclick='x()'><table border=1><tr><td>1<script>evil()</script></td></tr></table></div>"
    )
    page = render(notebook({"text/html": table, "text/plain": "1"}), "html")
    assert "<table><tbody><tr><td>1" in page
    body = page[page.index("<main>") :]
    for fragment in ("<script", "onclick", "<style", "<div", "td{}"):
        assert fragment not in body


def test_html_of_our_own_blocks_is_kept() -> None:
    page = render(notebook({"text/html": '<figure class="x"></figure>'}, metadata={"kaizen": True}), "html")
    assert '<figure class="x"></figure>' in page


def test_html_inside_markdown_stays_text() -> None:
    page = render(notebook(markdown="## A <script>evil()</script> [x](javascript:evil())"), "html")
    assert "<script" not in page
    assert 'href="javascript' not in page


def test_plain_text_and_streams_are_escaped() -> None:
    made = notebook({"text/plain": "<b>\x1b[31m\u202e"})
    made.cells[1].outputs.append(v4.new_output("stream", name="stdout", text="<i>\x00"))
    page = render(made, "html")
    assert "<pre>&lt;b&gt;\ufffd</pre>" in page
    assert "<pre>&lt;i&gt;\ufffd</pre>" in page


def test_other_images_than_png_do_not_reach_the_page() -> None:
    page = render(notebook({"image/svg+xml": "<svg onload=evil()></svg>", "text/plain": "drawing"}), "html")
    assert "<svg" not in page
    assert "drawing" in page


def test_the_data_of_a_report_come_with_its_run() -> None:
    made = notebook({DATA_MIME: {"name": "x", "n": 1}, "text/plain": ""})
    document = json.loads(render(made, "json"))
    assert (document["name"], document["n"], document["run"]["run_id"]) == ("x", 1, FACTS.run_id)
    assert "<title>x: Sample</title>" in render(made, "html")


def test_a_report_has_one_set_of_data() -> None:
    with pytest.raises(ReportError, match="2 cells of the notebook emit data"):
        find_data(notebook({DATA_MIME: {}}, {DATA_MIME: {}}))


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        render(notebook({DATA_MIME: {"n": float("nan")}}), "json")


def test_every_page_says_which_run_made_it() -> None:
    for kind in ("html", "md"):
        assert "Run 20260105T060000Z-00000000, made 1970-01-01 00:00 UTC" in render(notebook(), kind)
