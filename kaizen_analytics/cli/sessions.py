"""`sessions`: list the sessions of a store, and show the timeline of one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, open_store
from kaizen_analytics.cli.output import clean, print_json, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, read_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIST_EXAMPLES = """\b
Examples:
  kaizen-analytics sessions list --since 7d
  kaizen-analytics sessions list --agent codex --json
"""
_SHOW_EXAMPLES = """\b
Examples:
  kaizen-analytics sessions show 5bea7345
  kaizen-analytics sessions show 5bea7345 --json
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="List sessions, and show what happened in one.")
    group.command("list", epilog=_LIST_EXAMPLES)(list_command)
    group.command("show", epilog=_SHOW_EXAMPLES)(show_command)
    app.add_typer(group, name="sessions")


def list_command(
    *,
    store: StoreOption = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"First start to list. {TIME_HELP}")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="First start that is no longer listed.")] = None,
    workspace: Annotated[str | None, typer.Option(metavar="PATH", help="Only this workspace and below.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only claude_code, codex or cursor.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show as text; --json gives all.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List sessions, newest first. A dash stands for what the transcript does not tell.

    A session is Running when its last event is less than 5 minutes old, Idle below an hour, else Done.
    """
    from kaizen_analytics.ingest.discover import parse_agents
    from kaizen_analytics.sessions import list_sessions

    now_ms = read_clock()
    chosen = next(iter(parse_agents([agent]))).value if agent else None
    with open_store(store) as opened:
        frame = list_sessions(
            opened,
            agent=chosen,
            since_ms=parse_optional_time(since, now_ms),
            until_ms=parse_optional_time(until, now_ms),
            workspace=workspace,
            now_ms=now_ms,
        )
    if as_json:
        print_json({"sessions": frame.to_dicts()})
        return
    columns = (
        "session",
        "started",
        "status",
        "agent",
        "model",
        "branch",
        "prompts",
        "calls",
        "failures",
        "tokens",
        "USD",
    )
    print_table(columns, [_listed(row) for row in frame.head(limit).to_dicts()])
    if frame.height > limit:
        print(f"{frame.height - limit:,} older sessions are not shown; --limit or --json show them.")


def show_command(
    session: Annotated[str, typer.Argument(metavar="ID", help="A session's id, or its beginning.")],
    *,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the timeline of one session."""
    from kaizen_analytics.sessions import find_session, read_timeline

    with open_store(store) as opened:
        found = find_session(opened, session)
        events = read_timeline(opened, found).to_dicts()
    if as_json:
        print_json({"session_id": found, "events": [row | {"payload": payload_of(row)} for row in events]})
        return
    print(clean(found))
    for row in events:
        print(render_event(row))


def render_event(row: Mapping[str, Any]) -> str:
    """Return one event as a line: time, kind or tool, what it was about, tokens and cost."""
    payload = payload_of(row)
    about = payload.get("text") or payload.get("error") or payload.get("event") or _input_of(payload)
    failed = " FAILED" if payload.get("is_error") is True else ""
    name = {"ToolCall": "call", "ToolResult": "result"}.get(row["kind"], row["kind"].lower())
    who = row["tool"] or payload.get("role") or ""
    parts = [render_time(row["ts_ms"]), f"{name:9}", clean(f"{who}{failed}"), clean(" ".join(str(about).split()))[:90]]
    return "  ".join([*parts, _usage_of(row)]).rstrip()


def render_time(ts_ms: int) -> str:
    """Return a time in UTC, to the second."""
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")


def payload_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's payload as an object; an empty one where another tool stored something else."""
    try:
        payload = json.loads(row["payload"])
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _input_of(payload: Mapping[str, Any]) -> str:
    given = payload.get("input")
    if not isinstance(given, dict):
        return ""
    return next(
        (str(given[name]) for name in ("command", "cmd", "path", "pattern", "query", "url") if name in given), ""
    )


def _usage_of(row: Mapping[str, Any]) -> str:
    counts = [row[name] for name in ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")]
    known = [count for count in counts if count is not None]
    if not known:
        return ""
    cost = "no price" if row["cost_usd_e6"] is None else f"${row['cost_usd_e6'] / 1e6:.4f}"
    return f"[{sum(known):,} tokens, {cost}]"


def _listed(row: Mapping[str, Any]) -> tuple[object, ...]:
    counts = [row[name] for name in ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")]
    known = [count for count in counts if count is not None]
    started = render_time(row["started_at_ms"])[:16]
    return (
        row["session_id"], started, row["status"], row["agent"], row["model"], row["branch"], row["prompts"],
        row["tool_calls"], row["failures"], sum(known) if known else None, row["cost_usd"],
    )  # fmt: skip
