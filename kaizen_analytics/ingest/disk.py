"""What lies on disk and not in the store, and what lies in the store alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.ingest.discover import discover, file_of, find_roots
from kaizen_analytics.ingest.records import Agent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from kaizen_analytics.ingest.checkpoints import Checkpoint
    from kaizen_analytics.store import Store

_CLEANUP_DAYS = 30
"""Claude Code deletes a transcript that was not written for so long, unless its settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What lives only in the store: sessions whose files are all gone, and the events that files lost."""

    sessions: int = 0
    events: int = 0
    prompts: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """Transcripts that are not stored, or grew since. `deleted_at_ms` is when Claude Code deletes the first of them."""

    files: int
    deleted_at_ms: int | None


def count_kept(rows: Iterable[Checkpoint]) -> dict[Agent, Kept]:
    """Return what lives only in the store, by agent, told by checkpoints and the disk.

    >>> count_kept([])
    {}
    """
    tallies = {}
    there = set()
    for row in rows:
        session = (row.agent, row.stored_as)
        if row.tally.get("events"):
            tallies[session] = row.tally
        if row.stored_as and os.path.lexists(file_of(row.path)):
            there.add(session)
    found: dict[Agent, Kept] = {}
    for session, tally in tallies.items():
        whole = session not in there
        if whole or tally["kept"]:
            known = found.get(Agent(session[0]), Kept())
            events, prompts = ("events", "prompts") if whole else ("kept", "kept_prompts")
            found[Agent(session[0])] = Kept(
                known.sessions + whole, known.events + tally[events], known.prompts + tally[prompts]
            )
    return found


def find_pending(store: Store, homes: Sequence[Path] | None, environment: Mapping[str, str]) -> Pending:
    """Return the transcripts under some homes that an ingest would read. Files of other folders count as read.

    >>> find_pending(store, [], {})
    Pending(files=0, deleted_at_ms=None)
    """
    rows = load_checkpoints(store)
    sources = discover(find_roots(homes, environment), frozenset(Agent)).sources
    pending = [
        source for source in sources if (row := rows.get(str(source.path))) is None or not row.is_current(source)
    ]
    ends = [
        source.mtime_ns // 1_000_000 + _cleanup_days(source.path) * DAY_MS
        for source in pending
        if source.agent is Agent.CLAUDE_CODE
    ]
    return Pending(len(pending), min(ends, default=None))


def _cleanup_days(transcript: Path) -> int:
    """Return after how many days without a write Claude Code deletes a transcript, from the settings beside it."""
    top = next((folder.parent for folder in transcript.parents if folder.name == "projects"), transcript.parent)
    try:
        told = json.loads((top / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _CLEANUP_DAYS
    days = told.get("cleanupPeriodDays") if isinstance(told, dict) else None
    return days if type(days) is int and 0 <= days < 100_000 else _CLEANUP_DAYS
