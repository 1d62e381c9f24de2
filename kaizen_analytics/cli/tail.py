"""`tail`: watch running sessions as their events arrive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.ingest import AgentOption, HomeOption, PricesOption, WorkspaceOption
from kaizen_analytics.cli.options import StoreOption, locate
from kaizen_analytics.cli.output import clean
from kaizen_analytics.cli.sessions import payload_of, render_event

if TYPE_CHECKING:
    from kaizen_analytics.ingest.tail import LiveEvent

_EXAMPLES = """\b
Examples:
  kaizen-analytics tail
  kaizen-analytics tail --agent claude_code --json | jq .tool
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_EXAMPLES)(tail)


def tail(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    agent: AgentOption = None,
    workspace: WorkspaceOption = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Show only sessions whose id begins so.")] = None,
    prices: PricesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show events of running sessions as they are written, and store them. End with Ctrl-C.

    What was written before is stored first and not shown.
    """
    from kaizen_analytics.ingest.discover import parse_agents
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.ingest.tail import follow
    from kaizen_analytics.store import Store

    location = locate(store)
    with Store.open(location.path, create=True) as opened:
        for event in follow(
            opened,
            home,
            agents=parse_agents(agent or ()),
            workspace=workspace or location.workspace,
            prices=PriceList.load(prices),
        ):
            if session is None or str(event.columns["session_id"]).startswith(session):
                print(_as_json(event) if as_json else _as_text(event), flush=True)


def _as_text(event: LiveEvent) -> str:
    more = "  (completed)" if event.completed else ""
    return f"{clean(str(event.columns['session_id'])[:8])}  {render_event(event.columns)}{more}"


def _as_json(event: LiveEvent) -> str:
    record = {"agent": event.agent.value, "completed": event.completed, **event.columns}
    return json.dumps(record | {"payload": payload_of(event.columns)}, ensure_ascii=False)
