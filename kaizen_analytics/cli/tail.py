"""`tail`: watch running sessions as their events arrive."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.ingest import AgentOption, HomeOption, PricesOption
from kaizen_analytics.cli.options import StoreOption, WorkspaceOption, locate
from kaizen_analytics.cli.output import clean, json_text
from kaizen_analytics.cli.sessions import payload_of, render_event
from kaizen_analytics.core.settings import cache_folder
from kaizen_analytics.ingest.discover import parse_agents
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.tail import LiveEvent, follow
from kaizen_analytics.store import Store

_EXAMPLES = """\b
Examples:
  kaizen-analytics tail
  kaizen-analytics tail --agent claude_code --json | jq .tool
"""


app = typer.Typer()


@app.command("tail", epilog=_EXAMPLES)
def _tail(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    agent: AgentOption = None,
    workspace: WorkspaceOption = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Show only sessions whose id begins so.")] = None,
    prices: PricesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show and store events of running sessions as they are written. End with Ctrl-C.

    What was written before is stored first and not shown.
    """
    location = locate(store)
    with Store.open(location.path, create=True, ours=True) as opened:
        for event in follow(
            opened,
            home,
            agents=parse_agents(agent or ()),
            workspace=Path(workspace) if workspace else location.workspace,
            prices=PriceList.load(prices, cache=cache_folder(os.environ, Path.home())),
        ):
            if session is None or str(event.columns["session_id"]).startswith(session):
                print(_as_json(event) if as_json else _as_text(event), flush=True)


def _as_text(event: LiveEvent) -> str:
    more = "  (completed)" if event.completed else ""
    return render_event(event.columns, before=clean(str(event.columns["session_id"])[:8])) + more


def _as_json(event: LiveEvent) -> str:
    record = {"agent": event.agent.value, "completed": event.completed, **event.columns}
    return json_text(record | {"payload": payload_of(event.columns)})
