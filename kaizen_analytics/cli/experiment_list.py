"""`exp list` and `exp tags`: what a store knows of its experiments, read without the statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from kaizen_analytics.cli.options import StoreOption, command, open_store
from kaizen_analytics.cli.output import clean, print_table
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import one_of
from kaizen_analytics.core.model import State
from kaizen_analytics.core.words import format_moment
from kaizen_analytics.store.experiments import get_experiment, list_experiments, manual_tags, unreadable_experiments

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The experiment, or the start of its id when unique.")]


@command("exp list", "exp list --json")
def _list_all(
    *,
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="Only Draft, Running, Concluded or Archived.")
    ] = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """List the experiments of a store, newest first.

    Rows that cannot be read are named.
    """
    wanted = None if state is None else one_of("--state", state.capitalize(), State)
    with open_store(store) as opened:
        found, unreadable = list_experiments(opened), unreadable_experiments(opened)
    chosen = [item for item in found if wanted in (None, item.state)]
    broken = [{"id": item.id, "reason": item.reason} for item in unreadable]
    yield {"experiments": codec.plain(chosen), "unreadable": broken}
    rows = [(item.id, item.name, item.state, item.metric.column, format_moment(item.created_at_ms)) for item in chosen]
    nothing = "No experiment is in the store. 'kaizen-analytics exp new --help' shows how to plan one."
    print_table(
        ["id", "name", "state", "metric", "created"],
        rows,
        droppable=("created", "metric"),
        empty=nothing if wanted is None else "None.",
    )
    for item in unreadable:
        print(clean(f"unreadable: {item.id}: {item.reason}"))


@command("exp tags", "exp tags 3f2a --json")
def _tags(experiment_id: IdArgument, *, store: StoreOption = None) -> Iterator[object]:
    """List the tagged sessions of an experiment."""
    with open_store(store) as opened:
        found = manual_tags(opened, get_experiment(opened, experiment_id).id)
    yield {session: variant.value for session, variant in found.items()}
    print_table(["session", "variant"], list(found.items()), empty="No session is tagged by hand.")
