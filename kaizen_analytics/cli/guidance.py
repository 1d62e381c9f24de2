"""`guidance`: skills and rules on disk against the sessions that used them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.cli.retro import WorkspaceOption, choose_scope, find_repository
from kaizen_analytics.cli.times import read_clock

if TYPE_CHECKING:
    from kaizen_analytics.retro.guidance import Guidance, GuidanceItem


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: kaizen-analytics guidance --days 90")(guidance)


def guidance(
    *,
    store: StoreOption = None,
    days: Annotated[int, typer.Option(help="The last days, today included.")] = 30,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every skill, rule and sub-agent of a repository with the sessions that used it.

    Size, uses, cost and errors of sessions with and without it. These are associations, not effects: an experiment
    tells the difference. Nothing is written.
    """
    from kaizen_analytics.retro.guidance import compute_guidance
    from kaizen_analytics.retro.retro import last_days
    from kaizen_analytics.store import Store

    location = locate(store)
    scope = choose_scope(location, workspace)
    with Store.open(location.path, read_only=True) as opened:
        result = compute_guidance(
            opened,
            last_days(days, read_clock()),
            root=find_repository(scope),
            workspace=None if scope is None else str(scope),
        )
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)


def _print(result: Guidance) -> None:
    from kaizen_analytics.retro.guidance import NOTE

    if not result.items:
        print(
            f"No skill or rule lies in the repository, and none of {result.sessions} sessions used one. "
            "Name a repository with --workspace PATH."
        )
        return
    columns = ["kind", "name", "tokens", "sessions", "median cost with", "without", "errors with", "without"]
    print_table(columns, [_cells(item) for item in result.items], title=f"{result.sessions:,} sessions")
    print(NOTE)


def _cells(item: GuidanceItem) -> tuple[object, ...]:
    name = item.name if item.path else f"{item.name} (not on disk)"
    return (
        item.kind,
        name,
        item.tokens,
        item.sessions_used,
        _usd(item.median_cost_with),
        _usd(item.median_cost_without),
        _percent(item.error_share_with),
        _percent(item.error_share_without),
    )


def _usd(value: float | None) -> str | None:
    return None if value is None else f"${value:,.2f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.0f} %"
