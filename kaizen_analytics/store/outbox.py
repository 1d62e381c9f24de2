"""What sync took, what is on its way and what was acknowledged; what the batches mean is the business of `sync`.

A batch and the rows it carries are written in one transaction before anything is sent, and its state changes only
after the destination answered. So a process that is killed leaves each row either untaken or in a batch that will be
sent again under the same key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.store.connection import encode_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.store.connection import Row, Store


class BatchState(StrEnum):
    """Where a batch stands."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    PARKED = "parked"
    """The destination will never take it; nothing else waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRow:
    """One version of one row, by the digest of its content."""

    row_key: str
    digest: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBatch:
    """A batch in the outbox; `body` is None once it was acknowledged."""

    batch_key: str
    dataset: str
    rows: int
    state: BatchState
    body: str | None
    attempts: int
    reason: str | None
    changed_at_ms: int


def load_sync_settings(store: Store) -> dict[str, Any] | None:
    """Return the settings of sync, or None where nobody configured it."""
    rows = store.native("select settings from ka_sync_settings")
    return json.loads(rows[0][0] or "") if rows else None


def write_sync_settings(store: Store, settings: Mapping[str, Any], *, now_ms: int) -> None:
    """Replace the settings of sync."""
    store.native(
        "insert into ka_sync_settings (id, settings, changed_at_ms) values (1, ?, ?) on conflict (id) do update set "
        "settings = excluded.settings, changed_at_ms = excluded.changed_at_ms returning 1",
        json.dumps(dict(settings), ensure_ascii=False, sort_keys=True),
        now_ms,
    )


def load_taken_rows(store: Store, destination: str, dataset: str) -> dict[str, TakenRow]:
    """Return the last version of each row that was taken for a destination, by row key."""
    rows = store.native(
        "select row_key, digest, revision from ka_sync_rows where destination = ? and dataset = ?", destination, dataset
    )
    return {str(key): TakenRow(row_key=str(key), digest=str(digest), revision=int(n or 0)) for key, digest, n in rows}


def add_batch(
    store: Store,
    destination: str,
    *,
    batch_key: str,
    dataset: str,
    body: str,
    rows: Sequence[TakenRow],
    now_ms: int,
) -> None:
    """Put a batch at the end of the outbox, with the rows that it carries; belongs inside `Store.write`."""
    store.native(
        "insert into ka_sync_batches (destination, batch_key, dataset, n_rows, state, body, attempts, reason, "
        "taken_at_ms, changed_at_ms) values (?, ?, ?, ?, ?, ?, 0, null, ?, ?) returning 1",
        destination,
        batch_key,
        dataset,
        len(rows),
        BatchState.PENDING.value,
        body,
        now_ms,
        now_ms,
    )
    store.native(
        "insert into ka_sync_rows (destination, dataset, row_key, digest, revision, batch_key) "
        "select ?, ?, value->>0, value->>1, value->>2, ? from json_each(?) where true "
        "on conflict (destination, dataset, row_key) do update set digest = excluded.digest, "
        "revision = excluded.revision, batch_key = excluded.batch_key returning 1",
        destination,
        dataset,
        batch_key,
        encode_list([row.row_key, row.digest, row.revision] for row in rows),
    )


def list_batches(store: Store, destination: str, state: BatchState) -> list[StoredBatch]:
    """Return the batches of one state, in the order in which they were taken."""
    rows = store.native(
        "select batch_key, dataset, n_rows, state, body, attempts, reason, changed_at_ms from ka_sync_batches "
        "where destination = ? and state = ? order by id",
        destination,
        state.value,
    )
    return [_stored(row) for row in rows]


def acknowledge_batch(store: Store, destination: str, batch_key: str, *, now_ms: int) -> None:
    """Note that the destination has a batch; its body is no longer kept."""
    store.native(
        "update ka_sync_batches set state = ?, reason = null, body = null, changed_at_ms = ? "
        "where destination = ? and batch_key = ? returning 1",
        BatchState.ACKNOWLEDGED.value,
        now_ms,
        destination,
        batch_key,
    )


def release_parked(store: Store, destination: str) -> None:
    """Drop the parked batches, and let their rows be taken again, as they are by then."""
    with store.write():
        store.native(
            "update ka_sync_rows set digest = '' where destination = ? and batch_key in (select batch_key from "
            "ka_sync_batches where destination = ? and state = ?) returning 1",
            destination,
            destination,
            BatchState.PARKED.value,
        )
        store.native(
            "delete from ka_sync_batches where destination = ? and state = ? returning 1",
            destination,
            BatchState.PARKED.value,
        )


def note_failure(
    store: Store, destination: str, batch_key: str, reason: str, *, now_ms: int, state: BatchState = BatchState.PENDING
) -> None:
    """Count an attempt that failed, with the reason; a parked batch is not tried again."""
    store.native(
        "update ka_sync_batches set state = ?, attempts = attempts + 1, reason = ?, changed_at_ms = ? "
        "where destination = ? and batch_key = ? returning 1",
        state.value,
        reason,
        now_ms,
        destination,
        batch_key,
    )


def count_batches(store: Store, destination: str) -> dict[tuple[str, BatchState], tuple[int, int, int]]:
    """Return batches, rows and the time of the last change, by dataset and state."""
    rows = store.native(
        "select dataset, state, count(*), sum(n_rows), max(changed_at_ms) from ka_sync_batches "
        "where destination = ? group by dataset, state",
        destination,
    )
    return {(str(name), BatchState(str(state))): (_int(n), _int(m), _int(at)) for name, state, n, m, at in rows}


def _stored(row: Row) -> StoredBatch:
    key, dataset, n_rows, state, body, attempts, reason, changed_at_ms = row
    return StoredBatch(
        batch_key=str(key),
        dataset=str(dataset),
        rows=_int(n_rows),
        state=BatchState(str(state)),
        body=body,
        attempts=_int(attempts),
        reason=reason,
        changed_at_ms=_int(changed_at_ms),
    )


def _int(text: str | None) -> int:
    return int(text or 0)
