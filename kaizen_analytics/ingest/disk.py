"""What lies on disk and not in the store, and what lies in the store alone."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.ingest.discover import discover, file_of, find_roots
from kaizen_analytics.ingest.records import Agent

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from kaizen_analytics.ingest.checkpoints import Checkpoint
    from kaizen_analytics.store import Store

_CLEANUP_DAYS = 30
"""Claude Code deletes a transcript that was not written for so long, unless its settings say otherwise."""

_MOST_DAYS = 99_999
"""Larger numbers mean "never"; their day is not in every calendar."""

_HEAD_BYTES = 65_536
_CWD = re.compile(rb'"cwd":\s*("(?:[^"\\]|\\.)*")')


class Kept(NamedTuple):
    """What lives only in the store: sessions of which no file holds anything, and the events that files lost."""

    sessions: int = 0
    events: int = 0
    prompts: int = 0


class Pending(NamedTuple):
    """Transcripts that are not stored, or grew since. `deleted_at_ms` is when Claude Code deletes the first of them."""

    files: int
    deleted_at_ms: int | None


def count_kept(rows: Iterable[Checkpoint], seen: Container[str] = ()) -> dict[Agent, Kept]:
    """Return what lives only in the store, by agent, told by checkpoints and the disk.

    The paths in `seen` were just seen there, so the disk is not asked again.

    >>> count_kept([])
    {}
    """
    tallies = {}
    there = set()
    for row in rows:
        session = (row.agent, row.stored_as)
        if row.tally.get("events"):
            tallies[session] = row.tally
        if row.stored_as and (row.path in seen or os.path.lexists(file_of(row.path))):
            there.add(session)
    found: dict[Agent, Kept] = {}
    for session, tally in tallies.items():
        whole = session not in there or tally["kept"] == tally["events"]
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
    days: dict[Path, int] = {}
    ends: list[int] = []
    for source in pending:
        if source.agent is Agent.CLAUDE_CODE:
            folder = next((one for one in source.path.parents if one.parent.name == "projects"), source.path.parent)
            if folder not in days:
                days[folder] = _cleanup_days(folder, source.path)
            ends.append(source.mtime_ns // 1_000_000 + days[folder] * DAY_MS)
    return Pending(len(pending), min(ends, default=None))


def _cleanup_days(folder: Path, transcript: Path) -> int:
    """Return after how many days without a write Claude Code deletes a project's transcripts.

    The project's own settings win over the user's, as in Claude Code; a transcript names the project's folder.
    """
    try:
        with transcript.open("rb") as file:
            found = _CWD.search(file.read(_HEAD_BYTES))
        project = [Path(json.loads(found[1])) / ".claude"] if found else []
    except (OSError, ValueError):
        project = []
    names = [one / name for one in project for name in ("settings.local.json", "settings.json")]
    for path in (*names, folder.parent.parent / "settings.json"):
        try:
            told = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            continue
        days = told.get("cleanupPeriodDays") if isinstance(told, dict) else None
        if type(days) is int and days >= 0:
            return min(days, _MOST_DAYS)
    return _CLEANUP_DAYS
