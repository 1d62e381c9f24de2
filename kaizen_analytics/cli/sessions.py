"""`sessions`: list the sessions of a store, show one, search them all, and judge one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from kaizen_analytics.cli.events import count_new_tokens, payload_of, render_event
from kaizen_analytics.cli.filters import Filter
from kaizen_analytics.cli.options import ShareOption, StoreOption, command, open_store
from kaizen_analytics.cli.output import NO_SESSION, clean, print_note, print_table, print_unreliable
from kaizen_analytics.cli.times import render_time
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted
from kaizen_analytics.exports.project import ID_DIGITS
from kaizen_analytics.redact import Category
from kaizen_analytics.reports.sharing import prepare_share
from kaizen_analytics.store.frames import (
    INSTRUCTIONS,
    SessionNode,
    add_feedback,
    find_session,
    list_sessions,
    read_timeline,
    read_tree,
    search_sessions,
)


@command("sessions list", "sessions list --since 7d", "sessions list --agent codex --json")
def _list(
    *,
    store: StoreOption = None,
    filters: Filter,
    limit: Annotated[int, typer.Option(min=1, help="How many to show as text; --json gives all.")] = 50,
) -> Iterator[object]:
    """List sessions, newest first. A dash stands for what the transcript does not tell.

    A session is Running when its last event is less than 5 minutes old, Idle below an hour, else Done.
    """
    now_ms = read_clock()
    chosen = asdict(filters.choose(now_ms))
    with open_store(store) as opened:
        frame = list_sessions(opened, now_ms=now_ms, **chosen)
    yield {"sessions": frame.to_dicts()}
    columns = (
        "session", "started", "status", "agent", "model", "branch", "prompts", "calls", "failures", "tokens", "USD",
    )  # fmt: skip
    droppable = ("branch", "failures", "calls", "prompts", "status", "agent", "model", "started")
    print_table(columns, [_listed(row) for row in frame.head(limit).to_dicts()], droppable=droppable, empty=NO_SESSION)
    print_unreliable(int(frame["unreliable_responses"].sum()))
    if frame.height > limit:
        print_note(f"{frame.height - limit:,} older sessions are not shown; --limit or --json show them.")


@command("sessions show", "sessions show 5bea7345", "sessions show 5bea7345 --tree", "sessions show 5bea7345 --json")
def _show(
    session: Annotated[str, typer.Argument(metavar="ID", help="A session's id, or its beginning.")],
    *,
    store: StoreOption = None,
    tree: Annotated[bool, typer.Option("--tree", help="Show sub-agents and tools with time, tokens and cost.")] = False,
) -> Iterator[object]:
    """Show the timeline of one session.

    With --tree, what its sub-agents and tools took.
    """
    with open_store(store, read_only=True) as opened:
        found = find_session(opened, session)
        if tree:
            node = read_tree(opened, found)
            yield asdict(node)
            print("\n".join(_draw_tree(node)))
            return
        events = read_timeline(opened, found).to_dicts()
    yield {"session_id": found, "events": [row | {"payload": payload_of(row)} for row in events]}
    print(clean(found))
    for row in events:
        print(render_event(row))


@command("sessions search", 'sessions search "flaky test"', "sessions search src/billing.py --json")
def _search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for; case does not matter.")],
    *,
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show as text; --json gives all.")] = 20,
    share: ShareOption = False,
) -> Iterator[object]:
    """Find a text in prompts, commands, paths and errors.

    The store keeps the beginning of each text, so a text may be missed further down.
    """
    with open_store(store, read_only=True) as opened:
        found = search_sessions(opened, text).to_dicts()
        path = opened.path
    if share:
        redactor = prepare_share([path]).redactor
        for row in found:
            session = row["session_id"].encode("utf-8", "surrogatepass")  # exports have it in their column `session`
            row["session_id"] = redactor.pseudonyms.name(Category.NAME, session, digits=ID_DIGITS)
            row["text"] = redactor.redact(row["text"])
    yield {"matches": found}
    rows = [(row["session_id"], render_time(row["ts_ms"]), row["place"], _around(row["text"], text)) for row in found]
    print_table(("session", "time (UTC)", "place", "text"), rows[:limit], droppable=("place", "time (UTC)"))
    sessions = len({row["session_id"] for row in found})
    more = f"; {limit} are shown" if len(found) > limit else ""
    print_note(f"{len(found):,} places in {sessions:,} sessions{more}.")


def _around(text: str, wanted: str) -> str:
    """Return the part of a text around a match, on one line."""
    place = max(text.lower().find(wanted.lower()) - 30, 0)
    return ("…" if place else "") + " ".join(text[place : place + 90].split())


@command("sessions instructions", "sessions instructions", "sessions instructions --json")
def _instructions(*, store: StoreOption = None) -> Iterator[object]:
    """List the instructions that sessions ran under.

    By fingerprint, with their first and last session. Two fingerprints are the arms of 'exp new --bind prompt'. One
    that begins with git- is inferred from the instruction files at the commit of the session's start; another was
    recorded by the agent.
    """
    with open_store(store) as opened:
        found = INSTRUCTIONS.run(opened).to_dicts()
    yield {"instructions": found}
    rows = [
        (
            one["fingerprint"], one["agent"], one["workspace"], one["sessions"],
            render_time(one["first_started_at_ms"])[:16], render_time(one["last_started_at_ms"])[:16],
        )
        for one in found
    ]  # fmt: skip
    print_table(
        ("fingerprint", "agent", "workspace", "sessions", "first", "last"),
        rows,
        droppable=("first", "agent"),
        empty=NO_SESSION,
    )


@command("sessions annotate", 'sessions annotate 5bea7345 --score 2 --label bad --note "asked the same question twice"')
def _annotate(
    session: Annotated[str, typer.Argument(metavar="ID", help="A session's id, or its beginning.")],
    *,
    score: Annotated[int | None, typer.Option(min=1, max=5, help="1 (bad) to 5 (good).")] = None,
    label: Annotated[str | None, typer.Option(help="good, bad, interesting, bug or regression.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A sentence.")] = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """Say what a session was worth. Earlier judgements stay."""
    with open_store(store) as opened:
        found = find_session(opened, session)
        made = add_feedback(opened, found, score=score, label=label, note=note, now_ms=read_clock())
    yield {"id": made, "session_id": found}
    print(f"Noted for session {clean(found)}.")


def _draw_tree(node: SessionNode) -> list[str]:
    r"""Return the lines of a session's tree.

    >>> from kaizen_analytics.store.frames import SessionNode
    >>> inner = SessionNode(session_id="b", agent="codex", model=None, minutes=None, new_tokens=None, cost_usd=None,
    ...     tools=(), children=())
    >>> print("\n".join(_draw_tree(SessionNode(session_id="a", agent="codex", model="m", minutes=1.5, new_tokens=1200,
    ...     cost_usd=0.25, tools=(("Bash", 3, 1, 4.2),), children=(inner,)))))
    a  codex m  1.5 min  1,200 tokens  $0.25
    ├─ Bash: 3 calls, 1 failed, 4.2 s
    └─ b  codex
    """
    facts = [
        node.session_id,
        f"{node.agent} {node.model or ''}".strip(),
        "" if node.minutes is None else f"{node.minutes:,.1f} min",
        "" if node.new_tokens is None else f"{node.new_tokens:,} tokens",
        "" if node.cost_usd is None else f"${node.cost_usd:,.2f}",
    ]
    lines = [clean("  ".join(filter(None, facts)))]
    below = []
    for tool, calls, failures, seconds in node.tools:
        took = "" if seconds is None else f", {seconds:,.1f} s"
        below.append([clean(f"{tool}: {counted(calls, 'call')}{f', {failures:,} failed' if failures else ''}{took}")])
    below += [_draw_tree(child) for child in node.children]
    for place, block in enumerate(below):
        last = place == len(below) - 1
        lines.append(f"{'└─' if last else '├─'} {block[0]}")
        lines += [f"{'  ' if last else '│ '} {line}" for line in block[1:]]
    return lines


def _listed(row: Mapping[str, Any]) -> tuple[object, ...]:
    started = render_time(row["started_at_ms"])[:16]
    return (
        row["session_id"], started, row["status"], row["agent"], row["model"], row["branch"], row["prompts"],
        row["tool_calls"], row["failures"], count_new_tokens(row), _cost_of(row),
    )  # fmt: skip


def _cost_of(row: Mapping[str, Any]) -> object:
    """Return a session's cost, with the share of its tokens that have a price where some have none.

    >>> _cost_of({"cost_usd": 1.5, "priced_share": 1.0}), _cost_of({"cost_usd": 1.5, "priced_share": 0.98})
    (1.5, '1.5 (98% of tokens)')
    """
    cost, share = row["cost_usd"], row["priced_share"]
    return cost if cost is None or share is None or share >= 1 else f"{cost:,.4g} ({share:.0%} of tokens)"
