"""Turns an executed notebook into the files of a report: HTML, Markdown, JSON, the notebook itself, PDF.

The HTML page is one file that loads nothing and runs nothing: its content security policy forbids both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kaizen_analytics.display import TRUSTED
from kaizen_analytics.errors import ReportError
from kaizen_analytics.reports import lean  # noqa: F401 - before nbconvert, which imports nbformat
from kaizen_analytics.reports.components import DATA_MIME
from kaizen_analytics.reports.pdf import load_weasyprint, render_pdf
from kaizen_analytics.text import clean, escape_html, escape_markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEMPLATES = Path(__file__).resolve().parent / "templates"
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
            f"{self.title}. Run {self.run_id}, made {_render_time(self.made_at_ms)} from inputs with the fingerprint "
            f"{self.fingerprint[:16]} by {versions}."
        )


def render_report(notebook: Any, formats: tuple[str, ...], facts: RunFacts) -> dict[str, bytes]:  # noqa: ANN401
    """Return the files of a report by name, one for each format.

    Args:
        notebook: The executed notebook.
        formats: Names out of `FORMATS`.
        facts: What to say about the run.

    Raises:
        ReportError: two cells emit data.
        ConfigError: a format needs a package that is not installed.
    """
    rendered = (FORMATS[name] for name in formats)
    return {file: render(notebook, facts) for file, render in rendered}


def check_formats(formats: tuple[str, ...]) -> None:
    """Check that the packages which `formats` need are installed.

    Raises:
        ConfigError: one is missing.
    """
    if "pdf" in formats:
        load_weasyprint()


def load_exporters() -> None:
    """Import and compile what rendering needs; `render_report` does it by itself when nobody has done it before."""
    from nbformat import v4

    empty = v4.new_notebook()
    _html_exporter().from_notebook_node(empty, resources={"page_title": "", "footer": "", "style": _read_style()})
    _markdown_exporter().from_notebook_node(empty)


def find_data(notebook: Any) -> dict[str, Any]:  # noqa: ANN401 - nbformat has no types
    """Return the machine-readable content that a notebook emits, an empty object if there is none.

    Raises:
        ReportError: more than one cell emits data.
    """
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    found = [output.data[DATA_MIME] for output in outputs if DATA_MIME in output.get("data", {})]
    if len(found) > 1:
        raise ReportError(f"{len(found)} cells of the notebook emit data; expected one at most.")
    return dict(found[0]) if found else {}


def _render_html(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    return _render_page(notebook, facts).encode()


def _render_pdf(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    return render_pdf(_render_page(notebook, facts))


def _render_page(notebook: Any, facts: RunFacts) -> str:  # noqa: ANN401
    name = find_data(notebook).get("name")
    resources = {
        "page_title": f"{name}: {facts.title}" if name else facts.title,
        "footer": facts.footer(),
        "style": _read_style(),
    }
    body, _ = _html_exporter().from_notebook_node(notebook, resources=resources)
    return clean(str(body))


def _render_markdown(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    body, _ = _markdown_exporter().from_notebook_node(notebook)
    return _squeeze(clean(f"{body}\n\n---\n\n{escape_markdown(facts.footer())}")).encode()


def _render_json(notebook: Any, facts: RunFacts) -> bytes:  # noqa: ANN401
    run = {"run_id": facts.run_id, "fingerprint": facts.fingerprint, "made_at": _render_time(facts.made_at_ms)}
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
        "pdf": ("report.pdf", _render_pdf),
    },
)
"""Every format: the name of its file and what renders it."""


def _squeeze(text: str) -> str:
    """Return `text` without spaces at the ends of lines and without more than one empty line in a row."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)).strip() + "\n"


@cache
def _html_exporter() -> Any:  # noqa: ANN401 - nbconvert has no types
    from nbconvert.exporters.templateexporter import TemplateExporter

    return TemplateExporter(
        config=_preferring("text/html", "text/markdown", "image/png", "text/plain"),
        template_name="kaizen",
        template_file="index.html.j2",
        extra_template_basedirs=[str(_TEMPLATES)],
        filters={"escape_html": escape_html, "markdown_html": _markdown_html, "safe_html": _safe_html},
    )


@cache
def _markdown_exporter() -> Any:  # noqa: ANN401 - nbconvert has no types
    from nbconvert.exporters.markdown import MarkdownExporter

    return MarkdownExporter(config=_preferring("text/markdown", "text/plain"), exclude_input=True)


def _preferring(*mime_types: str) -> Any:  # noqa: ANN401 - traitlets' Config
    from traitlets.config import Config

    return Config(NbConvertBase={"display_data_priority": list(mime_types)})


def _markdown_html(source: str) -> str:
    """Return Markdown as HTML; HTML inside it stays text and addresses that run code are dropped."""
    import mistune

    render = mistune.create_markdown(escape=True, plugins=["table", "strikethrough"])
    return str(render(source))


def _safe_html(output: Any) -> str:  # noqa: ANN401 - nbformat has no types
    """Return the HTML of an output as it is when this package made it, else only its tables and plain text."""
    source = str(output.data["text/html"])
    if output.metadata.get(TRUSTED):
        return source
    import bleach

    without_style = re.sub(r"<style\b.*?</style>", "", source, flags=re.DOTALL | re.IGNORECASE)
    return str(bleach.clean(without_style, tags=_TABLE_TAGS, attributes=[], strip=True))


@cache
def _read_style() -> str:
    return (_TEMPLATES / "kaizen" / "style.css").read_text(encoding="utf-8")


def _render_time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
