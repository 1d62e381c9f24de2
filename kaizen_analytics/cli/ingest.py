"""`ingest`, `tail`, `outcomes` and `prices`: read the sessions of Claude Code, Codex and Cursor into a store."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.events import payload_of, render_event
from kaizen_analytics.cli.options import StoreOption, WorkspaceOption, command, locate, open_store
from kaizen_analytics.cli.output import (
    Bar,
    clean,
    is_quiet,
    json_text,
    print_next,
    print_note,
    print_table,
    print_unreliable,
)
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, render_time
from kaizen_analytics.core.model import Metric, State
from kaizen_analytics.core.settings import cache_folder
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.ingest.discover import parse_agents
from kaizen_analytics.ingest.disk import Pending, find_pending
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.pricing import ModelPrice, PriceList, last_use_of_models, name_at_speed
from kaizen_analytics.ingest.summary import AgentSummary, IngestSummary
from kaizen_analytics.ingest.tail import LiveEvent, follow
from kaizen_analytics.outcomes.sessions import SessionOutcome, list_changed, update_outcomes
from kaizen_analytics.store import Store

_COLUMNS = (
    "agent", "files", "read", "sessions", "events", "rejects", "tokens in", "cache write", "cache read", "tokens out",
    "reasoning", "cost USD", "unreliable",
)  # fmt: skip

_DROPPABLE = ("read", "reasoning", "cache write", "cache read", "unreliable", "events", "tokens in", "rejects")
_KINDS_SHOWN = 10
_RECENT_MS = 30 * 86_400_000

HomeOption = Annotated[
    list[Path] | None,
    typer.Option("--home", metavar="DIR", help="A home folder with .claude, .codex or .cursor. Repeatable."),
]
_AgentOption = Annotated[
    list[str] | None, typer.Option("--agent", help="Only claude_code, codex or cursor. Repeatable.")
]
_PricesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Prices of your own (see 'kaizen-analytics prices --help').")
]


@command(
    "ingest",
    "ingest                               this repository's sessions, from your home folder",
    "ingest --store all.db                every workspace's sessions",
    "ingest --home /mnt/laptop --agent codex --since 30d",
    "ingest --rejects                     the lines that could not be read, and why",
)
def _ingest(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    agent: _AgentOption = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Leave out files last written before. {TIME_HELP}")
    ] = None,
    workspace: WorkspaceOption = None,
    prices: _PricesOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read every file again from its start.")] = False,
    no_outcomes: Annotated[
        bool, typer.Option("--no-outcomes", help="Leave out what came of the sessions; 'outcomes' finds it later.")
    ] = False,
    rejects: Annotated[bool, typer.Option("--rejects", help="List the stored rejects; read nothing.")] = False,
) -> Iterator[object]:
    """Read new sessions into the store.

    A second run reads only what was added since. Without --store, inside a repository, only that repository's sessions
    are taken. At the end, git is asked what came of the new sessions and of those of the last 30 days, as by
    'outcomes'.
    """
    location = locate(store)
    agents = parse_agents(agent or ())
    if rejects:
        with Store.open(location.path, ours=True) as opened:
            yield from _show_rejects(opened)
        return
    now_ms = read_clock()
    since_ms = parse_optional_time(since, now_ms)
    price_list = PriceList.load(prices, cache=cache_folder(os.environ, Path.home()))
    with Store.open(location.path, create=True, ours=True) as opened:
        with Bar("Reading", unit="MB", scale=1e6) as bar:
            summary = run_ingest(
                opened,
                home,
                agents=agents,
                since_ms=since_ms,
                workspace=Path(workspace) if workspace else location.workspace,
                full=full,
                prices=price_list,
                progress=bar.show,
            )
        if not no_outcomes:
            # of the sessions that no run has looked at, and of the recent ones, whose work may land yet
            recent_ms = now_ms - _RECENT_MS
            with Bar("Reading repositories") as read:
                changed = list_changed(opened, recent_ms)
                update_outcomes(opened, now_ms=now_ms, since_ms=recent_ms, also=changed, progress=read.show)
        running = "select 1 from experiments where state = ? and instr(metadata, ?) limit 1"
        if opened.native(running, State.RUNNING.value, Metric.FINDING_RATE.value):
            # It imports Polars and the classes of findings, which take longer than an ingest without news.
            importlib.import_module("kaizen_analytics.retro.followup").update_exposures(opened, now_ms=now_ms)
        yield {"store": str(location.path), **summary.to_json()}, int(bool(summary.failed))
        left_out = since_ms is not None or agent
        pending = find_pending(opened, home, os.environ) if left_out else None
    _print_summary(summary, location.path, Path(workspace) if workspace else location.workspace)
    if pending is not None and pending.files:
        print_pending(pending)


def print_pending(pending: Pending) -> None:
    """Print how many transcripts are not stored, and when the first of them goes.

    >>> from kaizen_analytics.ingest.disk import Pending
    >>> print_pending(Pending(files=2, deleted_at_ms=None))
    2 transcripts on this machine are not stored, or grew since.
    """
    first = pending.deleted_at_ms
    until = "" if first is None else f" Claude Code deletes the first on {render_time(first)[:10]}."
    print_note(f"{pending.files:,} transcripts on this machine are not stored, or grew since.{until}")


def _print_summary(summary: IngestSummary, store: Path, workspace: Path | None) -> None:
    """Print one row per agent, then what needs attention."""
    if not is_quiet():
        rows = [(name.value, *_cells(agent)) for name, agent in summary.agents.items()]
        print_table(_COLUMNS, rows, droppable=_DROPPABLE)
    for name, agent in summary.agents.items():
        _print_notes(name.value, agent)
    for warning in summary.warnings:
        print_note(f"warning: {warning}", file=sys.stderr)
    if not is_quiet():
        print_note(f"{summary.new_events:,} new events in {store}")
    _print_whereabouts(summary, workspace)


def _print_notes(name: str, agent: AgentSummary) -> None:
    if agent.databases:
        print_note(f"{name}: databases among the files: {agent.databases:,}, with {agent.conversations:,} sessions")
    for reason, count in sorted(agent.rejects.items()):
        print_note(f"{name}: {count:,} lines rejected: {reason}")
    if agent.unknown_kinds:
        most = sorted(agent.unknown_kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:_KINDS_SHOWN]
        kinds = ", ".join(f"{kind} ({count:,})" for kind, count in most)
        total = agent.unknown_kinds.total()
        print_note(f"{name}: {total:,} records of a kind that is not known were not counted: {kinds}")
    print_unreliable(agent.unreliable_responses, agent.responses, who=f"{name}: ")
    if agent.unpriced_responses:
        print_note(f"{name}: {agent.unpriced_responses:,} responses have no price; the cost leaves them out")
    if agent.kept_events:
        print_note(
            f"{name}: {agent.kept_events:,} events, {agent.kept_prompts:,} of them prompts, live only in the "
            "store: their files lost them or are gone"
        )
    if agent.waiting:
        print_note(f"{name}: the last line of {agent.waiting:,} files is not complete yet and waits")


def _print_whereabouts(summary: IngestSummary, workspace: Path | None) -> None:
    """Say where to look when no file, or no session of the wanted folder, was found."""
    agents = summary.agents.values()
    files = sum(agent.files for agent in agents)
    if not files:
        print_note(
            "No transcript was found. Claude Code, Codex and Cursor keep theirs in the home folder of who runs them. "
            "Name that folder with --home, or an earlier time with --since."
        )
    elif workspace is not None and not any(agent.sessions for agent in agents):
        print_note(f"Files found: {files:,}; none holds a session that ran in {workspace}.")
        print_note("Go to the folder where your agents work, or read all of them into a store of their own.")
        print_next("kaizen-analytics ingest --store all.db")


def _cells(agent: AgentSummary) -> tuple[object, ...]:
    return (
        agent.files,
        agent.files_read,
        agent.sessions,
        agent.events,
        sum(agent.rejects.values()),
        *agent.tokens.values(),
        agent.cost_usd_e6 / 1e6 if agent.responses else None,
        agent.unreliable_responses,
    )


def _show_rejects(store: Store) -> Iterator[object]:
    names = ("path", "line", "offset_bytes", "reason", "detail")
    rows = store.native(
        "select f.path, r.line, r.offset_bytes, r.reason, r.detail from ka_rejects r"
        " join ka_files f on f.id = r.file_id order by f.path, r.line"
    )
    found = [(path, int(line or 0), int(offset or 0), reason, detail) for path, line, offset, reason, detail in rows]
    yield {"rejects": [dict(zip(names, row, strict=True)) for row in found]}
    print_table(names, found, droppable=("offset_bytes", "detail"), empty="No line was rejected.")


@command("tail", "tail", "tail --agent claude_code --json | jq .tool")
def _tail(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    agent: _AgentOption = None,
    workspace: WorkspaceOption = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="Show only sessions whose id begins so.")] = None,
    prices: _PricesOption = None,
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


_OUTCOMES = (
    "session_id", "checks", "checks_passed", "commits", "commit_ids", "landed", "reverted", "lines_added",
    "lines_surviving", "pull_request", "reason",
)  # fmt: skip
_DROPPABLE_OUTCOMES = ("pull request", "surviving", "checks", "reverted")


@command("outcomes", "outcomes", "outcomes --since 30d --workspace . --json")
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
            opened, now_ms=now_ms, since_ms=parse_optional_time(since, now_ms), workspace=workspace, progress=bar.show
        )
    yield {"outcomes": [{name: getattr(one, name) for name in _OUTCOMES} for one in found]}
    telling = [one for one in found if one.checks or one.commits or one.pull_request]
    columns = ("session", "checks", "passed", "commits", "landed", "reverted", "lines", "surviving", "pull request")
    print_table(columns, [_outcome_cells(one) for one in telling[: -limit - 1 : -1]], droppable=_DROPPABLE_OUTCOMES)
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


def _outcome_cells(one: SessionOutcome) -> tuple[object, ...]:
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


_PRICE_FILE = """
\b
A price file holds dollars per million tokens for each model:
  {"my-model": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write_5m": 3.75, "cache_write_1h": 6}}
Optionally, "web_search": the dollars of a thousand searches.
"""
_RATES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


@command("prices", "prices", "prices --prices mine.json", after=_PRICE_FILE)
def _prices(*, store: StoreOption = None, prices: _PricesOption = None) -> Iterator[object]:
    """Show the prices of a store's models, per million tokens.

    In dollars, on the day each was last used. A model without a price has no cost; 'ingest --prices FILE --full'
    applies prices of your own.
    """
    listed = PriceList.load(prices)
    with open_store(store) as opened:
        used = last_use_of_models(opened)
    found = [
        (name_at_speed(model, speed), responses, listed.find(model, at_ms, speed))
        for model, speed, responses, at_ms in used
    ]
    models = []
    for model, responses, price in found:
        rates = None
        if price is not None:
            rates = {name: [[start, float(usd)] for start, usd in rate.steps] for name, rate in price.rates.items()}
        models.append({"model": model, "responses": responses, "source": price and price.source, "rates": rates})
    yield {"models": models}
    columns = ("model", "responses", "input", "output", "cache read", "write 5 min", "write 1 h", "source")
    rows = [(model, responses, *_price_cells(price)) for model, responses, price in found]
    print_table(columns, rows, droppable=("write 1 h", "write 5 min", "responses", "cache read"), empty="No model.")


def _price_cells(price: ModelPrice | None) -> tuple[object, ...]:
    if price is None:
        return (*[None] * len(_RATES), "unknown: these responses have no cost")
    steps = (price.rates[name].steps if name in price.rates else () for name in _RATES)
    return (*(" / ".join(f"{usd:g}" for _, usd in rate) or None for rate in steps), price.source)
