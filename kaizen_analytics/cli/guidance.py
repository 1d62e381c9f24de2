"""`guidance`: what agents are told in a repository, and which sessions used it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from kaizen_analytics.cli.options import StoreOption, WorkspaceOption, choose_scope, command, find_repository, locate
from kaizen_analytics.cli.output import print_note, print_table
from kaizen_analytics.cli.times import choose_timezone
from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import format_day
from kaizen_analytics.retro.guidance import GuidanceItem, compute_guidance
from kaizen_analytics.retro.retro import last_days
from kaizen_analytics.store import Store

app = typer.Typer()


@command(app, "guidance", "guidance --days 90")
def _guidance(
    *,
    store: StoreOption = None,
    days: Annotated[int, typer.Option(help="The last whole days.")] = 28,
    workspace: WorkspaceOption = None,
) -> Iterator[object]:
    """List what agents are told in a repository, and what it costs.

    Instructions, rules, skills, agents, commands and servers. Size, the sessions that used it, and what carrying it in
    every session costs. Nothing is written.
    """
    location = locate(store)
    scope = choose_scope(location, workspace)
    with Store.open(location.path, read_only=True, ours=True) as opened:
        result = compute_guidance(
            opened,
            last_days(days, read_clock(), choose_timezone(None)),
            root=find_repository(scope),
            repository=None if scope is None else normalise_folder(str(scope)),
        )
    yield result.to_json()
    if not result.items:
        print_note(
            f"No skill or rule lies in the repository, and none of {result.sessions} sessions used one. "
            "Name a repository with --workspace PATH."
        )
        return
    columns = ["kind", "name", "tokens", "read by", "sessions", "USD a week", "changed"]
    print_table(
        columns,
        [_cells(item) for item in result.items],
        title=f"{result.sessions:,} sessions",
        droppable=("changed", "read by"),
    )


def _cells(item: GuidanceItem) -> tuple[object, ...]:
    return (
        item.kind,
        item.name if item.path else f"{item.name} (not on disk)",
        item.tokens,
        "every session" if item.is_always_read else "on use",
        item.sessions_used,
        None if item.usd_per_week is None else f"{item.usd_per_week:,.2f}",
        None if item.changed_ms is None else format_day(item.changed_ms),
    )
