"""Who is in which arm: `exp assign`, `exp tag` and `exp untag`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from kaizen_analytics.cli.experiment_list import IdArgument
from kaizen_analytics.cli.options import StoreOption, command, open_store
from kaizen_analytics.cli.output import print_lines
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, one_of
from kaizen_analytics.core.model import Classification
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assignment import (
    draw_unit,
    record_draw,
)
from kaizen_analytics.experiments.sample import select_sessions
from kaizen_analytics.store.experiments import get_experiment
from kaizen_analytics.store.frames import find_session


@command("exp assign", "exp assign 3f2a --unit-id nightly-17 --json")
def _assign(
    experiment_id: Annotated[str, typer.Argument(metavar="ID", help="The experiment, or the start of its id.")],
    *,
    unit_id: Annotated[str, typer.Option("--unit-id", metavar="UNIT", help="What is drawn, such as a job's id.")],
    record: Annotated[
        str | None, typer.Option("--record", metavar="SESSION", help="Record that this session started in the arm.")
    ] = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """Say which arm a unit is drawn into, for scripts.

    Scripts that start agents themselves also learn what the sessions get. The same unit always gets the same arm.
    Nothing is written without --record.
    """
    with open_store(store) as opened:
        found = get_experiment(opened, experiment_id).id
        arm, content = draw_unit(opened, found, unit_id)
        if record is not None:
            record_draw(opened, found, record, unit_id, arm, read_clock())
    yield {"experiment": found, "unit": unit_id, "arm": arm, "session": record, "content": codec.plain(content)}
    print(arm)


@command(
    "exp tag",
    "exp tag 3f2a 01a4… 77b0… --variant treatment",
    "exp tag 3f2a --variant control --where agent=codex --since 2026-10-01 --until 2026-10-08",
)
def _tag(
    experiment_id: IdArgument,
    sessions: Annotated[list[str] | None, typer.Argument(metavar="SESSION…", help="Session ids.")] = None,
    *,
    variant: Annotated[str, typer.Option(metavar="control|treatment|excluded", help="The arm.")],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Choose stored sessions by agent, model, workspace or branch."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Only sessions starting at or after TIME. {TIME_HELP}")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Exclude sessions starting at or after TIME.")
    ] = None,
    future: Annotated[
        bool, typer.Option("--future", help="Take the ids as they are: the sessions are not stored yet.")
    ] = False,
    store: StoreOption = None,
) -> Iterator[object]:
    """Put sessions into an arm by hand, by ids or by a filter.

    None of them is tagged when one is in another arm. The beginning of an id is enough where it is unique.
    """
    now_ms = read_clock()
    filtered = bool(where) or since is not None or until is not None
    if bool(sessions) == filtered:
        raise ConfigError("Name sessions, or choose them with --where, --since and --until; one of the two.")
    arm = one_of("--variant", variant.capitalize(), Classification)
    conditions = _parse_conditions(where or [])
    since_ms, until_ms = parse_optional_time(since, now_ms), parse_optional_time(until, now_ms)
    with open_store(store) as opened:
        chosen = [session if future else find_session(opened, session) for session in sessions or []]
        if filtered:
            chosen = select_sessions(opened, conditions, since_ms=since_ms, until_ms=until_ms)
        added = lifecycle.tag(opened, experiment_id, chosen, arm, now_ms=now_ms)
    before = f", {len(chosen) - added} were before" if added < len(chosen) else ""
    yield {"variant": arm.value, "sessions": chosen, "added": added}
    print_lines(f"Tagged {counted(added, 'session')} {variant.lower()}{before}.")


@command("exp untag", "exp untag 3f2a 01a4 --reason 'wrong session'")
def _untag(
    experiment_id: IdArgument,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session id.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment.")],
    store: StoreOption = None,
) -> Iterator[object]:
    """Take a session's tag away, with a reason.

    The removal and its reason are recorded.
    """
    with open_store(store) as opened:
        lifecycle.untag(opened, experiment_id, session, reason, now_ms=read_clock())
    yield {"session": session, "removed": True}
    print_lines(f"Removed the tag of {session}.")


def _parse_conditions(where: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in where]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise ConfigError(f"--where {wrong[0]} is no condition; expected KEY=VALUE, such as agent=codex.")
    return {key: value for key, _, value in pairs}
