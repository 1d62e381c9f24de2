"""`outcomes`: what came out of the sessions: checks, commits, what landed and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from kaizen_analytics.cli.options import StoreOption, WorkspaceOption, command, open_store
from kaizen_analytics.cli.output import Bar, print_note, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.outcomes.sessions import SessionOutcome, update_outcomes

_SHOWN = (
    "session_id", "checks", "checks_passed", "commits", "commit_ids", "landed", "reverted", "lines_added",
    "lines_surviving", "pull_request", "reason",
)  # fmt: skip
_DROPPABLE = ("pull request", "surviving", "checks", "reverted")


app = typer.Typer()


@command(app, "outcomes", "outcomes", "outcomes --since 30d --workspace . --json")
def _outcomes(
    *,
    store: StoreOption = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"First start that counts. {TIME_HELP}")] = None,
    workspace: WorkspaceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show as text; --json gives all.")] = 20,
) -> Iterator[object]:
    """Find out what came of the sessions, from commands and git.

    A check is a test, build, type check or linter run. A commit has landed if it, or a rebased, picked or squashed copy
    of it, is on the default branch. Lines survive if they are still there 14 days after they landed. A dash means
    unknown. Git is only read.
    """
    now_ms = read_clock()
    with open_store(store) as opened, Bar("Reading repositories") as bar:
        found = update_outcomes(
            opened,
            now_ms=now_ms,
            since_ms=parse_optional_time(since, now_ms),
            workspace=workspace,
            progress=bar.show,
        )
    yield {"outcomes": [{name: getattr(one, name) for name in _SHOWN} for one in found]}
    telling = [one for one in found if one.checks or one.commits or one.pull_request]
    columns = ("session", "checks", "passed", "commits", "landed", "reverted", "lines", "surviving", "pull request")
    print_table(columns, [_cells(one) for one in telling[: -limit - 1 : -1]], droppable=_DROPPABLE)
    if len(telling) > limit:
        print_note(f"{len(telling) - limit:,} older sessions are not shown; --limit or --json show them.")
    known = [one.checks_passed for one in found if one.checks_passed is not None]
    landed = sum(one.landed is True for one in found)
    reverted = f", of which {sum(one.reverted is True for one in found):,} had some reverted" if landed else ""
    print_note(
        f"{len(found):,} sessions. Last check passed in {sum(known):,} of {len(known):,} whose result is known. "
        f"{sum(one.commits or 0 for one in found):,} commits; work landed from {landed:,} sessions{reverted}."
    )
    for reason in sorted({one.reason for one in found if one.reason}):
        print_note(f"{sum(one.reason == reason for one in found):,} sessions with commits: {reason}")


def _cells(one: SessionOutcome) -> tuple[object, ...]:
    words = {True: "yes", False: "no", None: None}
    return (
        one.session_id,
        one.checks,
        words[one.checks_passed],
        one.commits,
        words[one.landed],
        words[one.reverted],
        one.lines_added,
        one.lines_surviving,
        one.pull_request,
    )
