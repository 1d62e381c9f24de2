"""`exp tag` and `exp untag`: sessions put into an arm by hand."""

from __future__ import annotations

from typing import Annotated

import typer

from kaizen_analytics.cli.experiment_list import IdArgument
from kaizen_analytics.cli.options import JsonOption, StoreOption, open_store, parse_member
from kaizen_analytics.cli.output import print_answer
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.model import Classification
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.sample import select_sessions
from kaizen_analytics.store.listing import find_session

_TAG_EXAMPLES = """\b
Examples:
  kaizen-analytics exp tag 3f2a 01a4… 77b0… --variant treatment
  kaizen-analytics exp tag 3f2a --variant control --where agent=codex --since 2026-10-01 --until 2026-10-08
"""

app = typer.Typer()


@app.command("tag", epilog=_TAG_EXAMPLES)
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
    as_json: JsonOption = False,
) -> None:
    """Put sessions into an arm by hand, by ids or by a filter; none of them when one is in another arm.

    The beginning of an id is enough where it is unique.
    """
    now_ms = read_clock()
    filtered = bool(where) or since is not None or until is not None
    if bool(sessions) == filtered:
        raise ConfigError("Name sessions, or choose them with --where, --since and --until; one of the two.")
    arm = parse_member(Classification, "--variant", variant.capitalize())
    conditions = _parse_conditions(where or [])
    since_ms, until_ms = parse_optional_time(since, now_ms), parse_optional_time(until, now_ms)
    with open_store(store) as opened:
        chosen = [session if future else find_session(opened, session) for session in sessions or []]
        if filtered:
            chosen = select_sessions(opened, conditions, since_ms=since_ms, until_ms=until_ms)
        added = lifecycle.tag(opened, experiment_id, chosen, arm, now_ms=now_ms)
    before = f", {len(chosen) - added} were before" if added < len(chosen) else ""
    document = {"variant": arm.value, "sessions": chosen, "added": added}
    print_answer(document, f"Tagged {counted(added, 'session')} {variant.lower()}{before}.", as_json=as_json)


@app.command("untag", epilog="Example: kaizen-analytics exp untag 3f2a 01a4 --reason 'wrong session'")
def _untag(
    experiment_id: IdArgument,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The session id.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a session's tag away; the removal and its reason are recorded."""
    with open_store(store) as opened:
        lifecycle.untag(opened, experiment_id, session, reason, now_ms=read_clock())
    print_answer({"session": session, "removed": True}, f"Removed the tag of {session}.", as_json=as_json)


def _parse_conditions(where: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in where]
    wrong = [key for key, equals, _ in pairs if not equals]
    if wrong:
        raise ConfigError(f"--where {wrong[0]} is no condition; expected KEY=VALUE, such as agent=codex.")
    return {key: value for key, _, value in pairs}
