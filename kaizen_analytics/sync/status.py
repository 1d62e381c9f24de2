"""Where sync stands: what was acknowledged, what waits, and what the destination will never take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaizen_analytics.store.outbox import BatchState, count_batches, list_batches

if TYPE_CHECKING:
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.outbox import StoredBatch
    from kaizen_analytics.sync.settings import Settings


def describe(store: Store, settings: Settings) -> dict[str, Any]:
    """Return the settings, and for each table the batches and rows of each state, as plain values.

    `last_acknowledged_ms` is when the destination last took a batch of the table, None if never.
    """
    counts = count_batches(store, settings.url)
    return {
        "settings": settings.to_json(),
        "tables": [_describe_table(name, counts) for name in settings.tables],
        "waiting": [_describe_batch(batch) for batch in list_batches(store, settings.url, BatchState.PENDING)],
        "parked": [_describe_batch(batch) for batch in list_batches(store, settings.url, BatchState.PARKED)],
    }


def _describe_table(name: str, counts: dict[tuple[str, BatchState], tuple[int, int, int]]) -> dict[str, Any]:
    described: dict[str, Any] = {"table": name}
    for state in BatchState:
        batches, rows, _ = counts.get((name, state), (0, 0, 0))
        described |= {f"{state.value}_batches": batches, f"{state.value}_rows": rows}
    *_, at_ms = counts.get((name, BatchState.ACKNOWLEDGED), (0, 0, None))
    return {**described, "last_acknowledged_ms": at_ms}


def _describe_batch(batch: StoredBatch) -> dict[str, Any]:
    return {
        "idempotency_key": batch.batch_key,
        "table": batch.dataset,
        "rows": batch.rows,
        "attempts": batch.attempts,
        "reason": batch.reason,
        "changed_at_ms": batch.changed_at_ms,
    }
