"""What a randomised experiment keeps in the store: the content of its arms, and which session was drawn into which.

Hooks append to a spool, a file beside the store (see `hook`). `fold_spool` takes what it holds into the store, each
line once: how far it was read is committed together with what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.core.model import Classification
from kaizen_analytics.hook import parse_record
from kaizen_analytics.store.experiments import is_frozen, load_experiment, manual_tags, tag_sessions
from kaizen_analytics.store.sql import encode_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kaizen_analytics.store.connection import Store

_ROWS_PER_STATEMENT = 500


class Draw(NamedTuple):
    """What the lot decided for one session.

    `unit` is what was drawn (a session, day, branch or user). `arm` is None for a session that takes no part, and
    `reason` says why, as one of the words of `hook`.
    """

    session_id: str
    unit: str | None
    arm: Classification | None
    reason: str | None
    at_ms: int


def spool_beside(store_path: Path) -> Path:
    """Return the spool of a store.

    >>> spool_beside(tmp / "kaizen.db").name
    'kaizen.exposures.jsonl'
    """
    return store_path.resolve().parent / f"{store_path.stem}.exposures.jsonl"


def count_waiting(store: Store) -> int:
    """Return how many lines of the spool are not in the store yet.

    >>> count_waiting(store)
    0
    """
    waiting, _ = _read_new(store)
    return sum(1 for line in waiting.split(b"\n") if line)


def fold_spool(store: Store) -> int:
    """Take the new lines of the spool into the store and tag their sessions; return how many sessions are new.

    The first line of a session decides. A session that is tagged with another arm keeps its tag, and the draw is kept
    beside it; a concluded experiment gets the draw and no tag.

    >>> fold_spool(store)
    0
    """
    waiting, _ = _read_new(store)
    if not waiting:
        return 0
    with store.write():
        waiting, end = _read_new(store)  # another command may have folded it while this one waited for the lock
        lines = [line for line in waiting.split(b"\n") if line]
        records = [record for line in lines if (record := parse_record(line)) is not None]
        added = _insert_draws(store, records)
        for experiment_id in sorted({record["experiment"] for record in added}):
            _tag_drawn(store, experiment_id, [item for item in added if item["experiment"] == experiment_id])
        _write_position(store, end, len(lines) - len(records))
    return len(added)


def read_draws(store: Store, experiment_id: str) -> list[Draw]:
    """Return what was drawn, in the order of session ids.

    >>> read_draws(store, "plan-first")
    []
    """
    query = "select session_id, unit, arm, reason, at_ms from ka_draws where experiment_id = $id order by session_id"
    rows = store.rows(query, {"id": experiment_id})
    return [Draw(**row | {"arm": row["arm"] and Classification(row["arm"])}) for row in rows]


def write_arms(store: Store, experiment_id: str, arms: Mapping[str, str]) -> None:
    """Keep the content of the arms, by arm, as JSON text; inside a `Store.write` block.

    >>> write_arms(writable, "e1", {"Control": "{}"})
    >>> writable.native("select arm, content from ka_arms where experiment_id = 'e1'")
    [('Control', '{}')]
    """
    for arm, content in arms.items():
        store.native("insert into ka_arms values (?, ?, ?) returning 1", experiment_id, arm, content)


def _read_new(store: Store) -> tuple[bytes, int]:
    """Return the whole lines that were not folded yet, and where they end. A spool that shrank is read anew."""
    spool = spool_beside(store.path)
    if not spool.exists():
        return b"", 0
    rows = store.native("select read_bytes from ka_spools where path = ?", spool.name)
    start = int(rows[0][0] or 0) if rows else 0
    start = start if start <= spool.stat().st_size else 0
    with spool.open("rb") as file:
        file.seek(start)
        new = file.read()
    end = new.rfind(b"\n") + 1
    return new[:end], start + end


def _write_position(store: Store, end: int, n_rejected: int) -> None:
    store.native(
        "insert into ka_spools values (?, ?, ?) on conflict (path) do update set "
        "read_bytes = excluded.read_bytes, n_rejected = n_rejected + excluded.n_rejected returning 1",
        spool_beside(store.path).name,
        end,
        n_rejected,
    )


def _insert_draws(store: Store, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Insert the first line of each session and return those that are new."""
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        first.setdefault((record["experiment"], record["session"]), record)
    chosen, added = list(first.values()), set()
    for start in range(0, len(chosen), _ROWS_PER_STATEMENT):
        rows = store.native(
            "insert into ka_draws (experiment_id, session_id, unit, arm, reason, at_ms) "
            "select value->>'experiment', value->>'session', value->>'unit', value->>'arm', value->>'reason', "
            "coalesce(value->>'at_ms', 0) from json_each(?) where true "
            "on conflict (experiment_id, session_id) do nothing returning experiment_id, session_id",
            encode_list(chosen[start : start + _ROWS_PER_STATEMENT]),
        )
        added |= {(experiment_id, session_id) for experiment_id, session_id in rows}
    return [record for key, record in first.items() if key in added]


def _tag_drawn(store: Store, experiment_id: str, records: Sequence[dict[str, Any]]) -> None:
    """Tag the sessions that were drawn, unless they have a tag already or nothing can be tagged any more."""
    if is_frozen(store, experiment_id) or load_experiment(store, experiment_id) is None:
        return
    tagged = manual_tags(store, experiment_id)
    for arm in (Classification.CONTROL, Classification.TREATMENT):
        drawn = [record for record in records if record.get("arm") == arm.value and record["session"] not in tagged]
        if drawn:
            latest_ms = max(record["at_ms"] for record in drawn)
            tag_sessions(store, experiment_id, [record["session"] for record in drawn], arm, now_ms=latest_ms)
