"""`ingest`: read the sessions of Claude Code, Codex and Cursor into a store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import clean, print_json, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, read_clock

if TYPE_CHECKING:
    from kaizen_analytics.ingest.summary import AgentSummary, IngestSummary
    from kaizen_analytics.store import Store

_EXAMPLES = """\b
Examples:
  kaizen-analytics ingest                               this repository's sessions, from your home folder
  kaizen-analytics ingest --store all.db                every workspace's sessions
  kaizen-analytics ingest --home /mnt/laptop --agent codex --since 30d
  kaizen-analytics ingest --rejects                     the lines that could not be read, and why
"""

_COLUMNS = (
    "agent", "files", "read", "sessions", "events", "rejects", "tokens in", "cache write", "cache read", "tokens out",
    "reasoning", "cost USD", "unreliable",
)  # fmt: skip

_KINDS_SHOWN = 10

HomeOption = Annotated[
    list[Path] | None,
    typer.Option("--home", metavar="DIR", help="A home folder with .claude, .codex or .cursor. Repeatable."),
]
AgentOption = Annotated[
    list[str] | None, typer.Option("--agent", help="Only claude_code, codex or cursor. Repeatable.")
]
WorkspaceOption = Annotated[Path | None, typer.Option(metavar="PATH", help="Only sessions in this folder and below.")]
PricesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Prices of your own (see 'kaizen-analytics prices --help').")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_EXAMPLES)(ingest)


def ingest(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    agent: AgentOption = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Leave out files last written before. {TIME_HELP}")
    ] = None,
    workspace: WorkspaceOption = None,
    prices: PricesOption = None,
    full: Annotated[bool, typer.Option("--full", help="Read every file again from its start.")] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Replace sessions that another tool wrote.")] = False,
    rejects: Annotated[bool, typer.Option("--rejects", help="List the stored rejects; read nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Read new sessions into the store; a second run reads only what was added since.

    Without --store, inside a repository, only that repository's sessions are taken.
    """
    from kaizen_analytics.ingest.discover import parse_agents
    from kaizen_analytics.ingest.pipeline import run_ingest
    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.store import Store

    location = locate(store)
    agents = parse_agents(agent or ())
    if rejects:
        with Store.open(location.path) as opened:
            _print_rejects(opened, as_json=as_json)
        return
    since_ms = parse_optional_time(since, read_clock())
    price_list = PriceList.load(prices)
    with Store.open(location.path, create=True) as opened, _Bar() as bar:
        summary = run_ingest(
            opened,
            home,
            agents=agents,
            since_ms=since_ms,
            workspace=workspace or location.workspace,
            full=full,
            adopt=adopt,
            prices=price_list,
            progress=bar.show,
        )
    if as_json:
        print_json({"store": str(location.path), **summary.to_json()})
    else:
        print_summary(summary, location.path, workspace or location.workspace)


def print_summary(summary: IngestSummary, store: Path, workspace: Path | None) -> None:
    """Print one row per agent, then what needs attention."""
    print_table(_COLUMNS, [(name.value, *_cells(agent)) for name, agent in summary.agents.items()])
    for name, agent in summary.agents.items():
        if agent.databases:
            print(
                f"{name.value}: databases among the files: {agent.databases:,}, with {agent.conversations:,} sessions"
            )
        for reason, count in sorted(agent.rejects.items()):
            print(f"{name.value}: {count:,} lines rejected: {reason}")
        if agent.unknown_kinds:
            most = sorted(agent.unknown_kinds.items(), key=lambda kind: (-kind[1], kind[0]))[:_KINDS_SHOWN]
            kinds = ", ".join(f"{kind} ({count:,})" for kind, count in most)
            total = agent.unknown_kinds.total()
            print(clean(f"{name.value}: {total:,} records of a kind that is not known were not counted: {kinds}"))
        if agent.unreliable_responses:
            share = agent.unreliable_responses / agent.responses
            print(f"{name.value}: {share:.0%} of responses have an output count that their agent never completed")
        if agent.unpriced_responses:
            print(f"{name.value}: {agent.unpriced_responses:,} responses have no price; the cost leaves them out")
        if agent.waiting:
            print(f"{name.value}: the last line of {agent.waiting:,} files is not complete yet and waits")
    for warning in summary.warnings:
        print(clean(f"warning: {warning}"), file=sys.stderr)
    print(f"{summary.new_events:,} new events in {store}")
    _print_whereabouts(summary, workspace)


def _print_whereabouts(summary: IngestSummary, workspace: Path | None) -> None:
    """Say where to look when no file, or no session of the wanted folder, was found."""
    agents = summary.agents.values()
    read = sum(agent.files_read for agent in agents)
    if not any(agent.files for agent in agents):
        print("No transcript was found. Claude Code, Codex and Cursor keep theirs in the home folder of who runs them.")
        print("Next: name that folder with --home, or an earlier time with --since.")
    elif workspace is not None and read and not any(agent.sessions for agent in agents):
        print(clean(f"Files read: {read:,}; none holds a session that ran in {workspace}."))
        print("Next: go to the folder where your agents work, or take all: kaizen-analytics ingest --store all.db")


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


def _print_rejects(store: Store, *, as_json: bool) -> None:
    names = ("path", "line", "offset_bytes", "reason", "detail")
    rows = store.native(
        "select f.path, r.line, r.offset_bytes, r.reason, r.detail from ka_rejects r"
        " join ka_files f on f.id = r.file_id order by f.path, r.line"
    )
    found = [(path, int(line or 0), int(offset or 0), reason, detail) for path, line, offset, reason, detail in rows]
    if as_json:
        print_json({"rejects": [dict(zip(names, row, strict=True)) for row in found]})
    elif found:
        print_table(names, found)
    else:
        print("No line was rejected.")


class _Bar:
    """A progress bar on a terminal; nothing elsewhere, where the summary is enough."""

    def __init__(self) -> None:
        self._label = "Reading"
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, done_bytes: int, total_bytes: int) -> None:
        """Draw how far the run is."""
        if not sys.stderr.isatty() or not total_bytes:
            return
        self._shown = True
        filled = round(30 * done_bytes / total_bytes)
        bar = "#" * filled + "." * (30 - filled)
        size = f"{done_bytes / 1e6:,.0f} of {total_bytes / 1e6:,.0f} MB"
        print(f"\r{self._label} [{bar}] {size}", end="", file=sys.stderr, flush=True)
