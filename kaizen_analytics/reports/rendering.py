"""Turns an executed notebook into the files of a report: HTML, Markdown, JSON and the notebook itself.

The HTML page is one file that loads nothing and runs nothing: its content security policy forbids both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kaizen_analytics import __version__
from kaizen_analytics.core.errors import ReportError
from kaizen_analytics.core.words import clean, escape_html, escape_markdown, format_minute
from kaizen_analytics.pages.blocks import DATA_MIME, TRUSTED, Block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_SECTION = re.compile(r"<h2>(.*?)</h2>")
_FEW_SECTIONS = 4
_TABLE_TAGS = frozenset({"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "small", "b", "i", "br"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What the rendered files say about the run that made them; times in milliseconds since the Unix epoch."""

    title: str
    run_id: str
    fingerprint: str
    made_at_ms: int
    versions: Mapping[str, str]

    def footer(self) -> str:
        """Return where the report came from, in one line."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.title}. Run {self.run_id}, made {format_minute(self.made_at_ms)} from inputs with the fingerprint "
            f"{self.fingerprint[:16]} by {versions}."
        )


def render_report(notebook: Any, formats: tuple[str, ...], facts: RunFacts) -> dict[str, bytes]:  # noqa: ANN401
    """Return the files of a report, an executed notebook, by name: one for each format out of `FORMATS`.

    Raises:
        ReportError: two cells emit data.

    >>> from nbformat import v4
    >>> facts = RunFacts(title="Costs", run_id="r1", fingerprint="f", made_at_ms=0, versions={})
    >>> list(render_report(v4.new_notebook(cells=[v4.new_markdown_cell("# Costs")]), ("md",), facts))
    ['report.md']
    """
    rendered = (FORMATS[name] for name in formats)
    return {file: render(notebook, facts) for file, render in rendered}


def render_page(page: Iterable[Block], title: str, run_id: str, fingerprint: str, made_at_ms: int) -> str:
    """Return blocks as the HTML page of a report, without running a notebook.

    >>> from kaizen_analytics.pages.blocks import paragraph
    >>> "All is well." in render_page([paragraph("All is well.")], "Costs", "r1", "f", 0)
    True
    """
    from nbformat import v4

    versions = {"kaizen_analytics": __version__}
    facts = RunFacts(title=title, run_id=run_id, fingerprint=fingerprint, made_at_ms=made_at_ms, versions=versions)
    bundles = [block._repr_mimebundle_() for block in page]
    outputs = [v4.new_output("display_data", data=data, metadata=metadata) for data, metadata in bundles]
    return _render_html(v4.new_notebook(cells=[v4.new_code_cell(outputs=outputs)]), facts).decode()


def find_data(notebook: Any) -> dict[str, Any]:  # noqa: ANN401 - nbformat has no types
    """Return the machine-readable content that a notebook emits, an empty object if there is none.

    Raises:
        ReportError: more than one cell emits data.

    >>> from nbformat import v4
    >>> output = v4.new_output("display_data", data={DATA_MIME: {"sessions": 2}})
    >>> find_data(v4.new_notebook(cells=[v4.new_code_cell(outputs=[output])]))
    {'sessions': 2}
    """
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    found = [output.data[DATA_MIME] for output in outputs if DATA_MIME in output.get("data", {})]
    if len(found) > 1:
        raise ReportError(f"{len(found)} cells of the notebook emit data; expected one at most.")
    return dict(found[0]) if found else {}


def _render_html(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    name = find_data(notebook).get("name")
    resources = {
        "page_title": f"{name}: {facts.title}" if name else facts.title,
        "footer": facts.footer(),
        "style": (_TEMPLATES / "kaizen" / "style.css").read_text(encoding="utf-8"),
    }
    body, _ = _html_exporter().from_notebook_node(notebook, resources=resources)
    return clean(_add_contents(str(body))).encode()


def _add_contents(page: str) -> str:
    """Return a page with a line of links to its sections before the first of them, if it has several.

    >>> "<a href" in _add_contents("<h2>One</h2>")
    False
    """
    titles = _SECTION.findall(page)
    if len(titles) < _FEW_SECTIONS:
        return page
    numbers = iter(range(1, len(titles) + 1))
    page = _SECTION.sub(lambda found: f'<h2 id="section-{next(numbers)}">{found[1]}</h2>', page)
    links = " \u00b7 ".join(f'<a href="#section-{number}">{title}</a>' for number, title in enumerate(titles, start=1))
    return page.replace("<h2 ", f'<nav aria-label="Contents">{links}</nav>\n<h2 ', 1)


def _render_markdown(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    body, _ = _markdown_exporter().from_notebook_node(notebook)
    text = clean(f"{body}\n\n---\n\n{escape_markdown(facts.footer())}")
    # no space at the end of a line, and no more than one empty line in a row
    short = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)).strip()
    return f"{short}\n".encode()


def _render_json(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    run = {"run_id": facts.run_id, "fingerprint": facts.fingerprint, "made_at": format_minute(facts.made_at_ms)}
    document = {**find_data(notebook), "run": {**run, "versions": dict(facts.versions)}}
    return (json.dumps(document, ensure_ascii=True, indent=2, allow_nan=False) + "\n").encode()


def _render_notebook(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401, ARG001 - one signature for all formats
    import nbformat

    return str(nbformat.writes(notebook)).encode()


FORMATS: Mapping[str, tuple[str, Callable[[Any, RunFacts], bytes]]] = MappingProxyType(
    {
        "html": ("report.html", _render_html),
        "md": ("report.md", _render_markdown),
        "json": ("report.json", _render_json),
        "ipynb": ("report.ipynb", _render_notebook),
    }
)
"""Every format: the name of its file and what renders it."""


@cache
def _html_exporter() -> Any:  # noqa: ANN401 - nbconvert has no types
    import mistune
    from nbconvert.exporters.templateexporter import TemplateExporter

    # HTML inside of Markdown stays text, and addresses that run code are dropped
    markdown = mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])
    return TemplateExporter(
        config=_preferring("text/html", "text/markdown", "image/png", "text/plain"),
        template_name="kaizen",
        template_file="index.html.j2",
        extra_template_basedirs=[str(_TEMPLATES)],
        filters={"escape_html": escape_html, "markdown_html": markdown, "safe_html": _safe_html},
    )


@cache
def _markdown_exporter() -> Any:  # noqa: ANN401 - nbconvert has no types
    from nbconvert.exporters.markdown import MarkdownExporter

    return MarkdownExporter(config=_preferring("text/markdown", "text/plain"), exclude_input=True)


def _preferring(*mime_types: str) -> Any:  # noqa: ANN401 - traitlets' Config
    from traitlets.config import Config

    return Config(NbConvertBase={"display_data_priority": list(mime_types)})


def _safe_html(output: Any) -> str:  # noqa: ANN401 - nbformat has no types
    """Return the HTML of an output as it is when this package made it, else only its tables and plain text."""
    source = str(output.data["text/html"])
    if output.metadata.get(TRUSTED):
        return source
    import bleach

    without_style = re.sub(r"<style\b.*?</style>", "", source, flags=re.DOTALL | re.IGNORECASE)
    return str(bleach.clean(without_style, tags=_TABLE_TAGS, attributes=[], strip=True))
