"""`mcp`: answer a coding agent's questions about this repository's sessions."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from kaizen_analytics.cli.options import StoreOption, command, locate
from kaizen_analytics.cli.times import configured_timezone, local_timezone
from kaizen_analytics.serving.server import serve


@command("mcp", "claude mcp add kaizen -- kaizen-analytics mcp", "codex mcp add kaizen -- kaizen-analytics mcp")
def _mcp(
    *,
    store: StoreOption = None,
    full: Annotated[
        bool, typer.Option("--full", help="Show names and texts as they are: whoever runs the model may read them.")
    ] = False,
) -> None:
    """Answer a coding agent's questions over MCP.

    About usage, sessions, outcomes, experiments and retros, on standard input and output. The agent starts it in a
    repository and is answered about that repository's store. Every tool only reads. Secrets, people and names are
    redacted, as in a shared report.
    """
    location = locate(store)
    scope, zone = {"store": location.path, "root": location.workspace, "full": full}, configured_timezone()

    def open_answers() -> Any:  # noqa: ANN401 - its class is imported for the first question, as is what knows the zone
        answers = importlib.import_module("kaizen_analytics.serving.answers").Answers
        return answers(**scope, timezone=zone or local_timezone())

    serve(open_answers)
