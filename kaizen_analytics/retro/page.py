"""A retro as one HTML page, through the same template as every report and without running a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaizen_analytics import __version__
from kaizen_analytics.reports import lean  # noqa: F401 - before nbformat
from kaizen_analytics.reports.rendering import RunFacts, render_report
from kaizen_analytics.retro.sections import SECTIONS, document, heading, section_title, tally

if TYPE_CHECKING:
    from kaizen_analytics.reports.components import Block
    from kaizen_analytics.retro.retro import Retro


def render_html(retro: Retro) -> str:
    """Return the retro as a self-contained page: no script, nothing to load."""
    from nbformat import v4

    blocks = [heading(retro), tally(retro), document(retro)]
    for title, section in SECTIONS:
        blocks += [section_title(title), section(retro)]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(outputs=[_output(block) for block in blocks])])
    facts = RunFacts(
        title="Retro summary",
        run_id=retro.id,
        fingerprint=str(retro.provenance["fingerprint"]),
        made_at_ms=retro.as_of_ms,
        versions={"kaizen_analytics": __version__},
    )
    return render_report(notebook, ("html",), facts)["report.html"].decode()


def _output(block: Block) -> object:
    from nbformat import v4

    data, metadata = block._repr_mimebundle_()
    return v4.new_output("display_data", data=data, metadata=metadata)
