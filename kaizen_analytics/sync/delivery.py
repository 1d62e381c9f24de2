"""From the outbox to the endpoint: at least once, always under the same key, acknowledged before the next.

A kill at any point loses nothing. Before the outbox is written, rows stay untaken; after it, the batch is pending and
is sent again under its key, by which the endpoint knows it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kaizen_analytics.errors import ConfigError, DeliveryError
from kaizen_analytics.store.outbox import (
    BatchState,
    StoredBatch,
    acknowledge_batch,
    add_batch,
    list_batches,
    load_sync_settings,
    note_failure,
    release_parked,
    write_sync_settings,
)
from kaizen_analytics.sync.batches import plan_batches, scan_body
from kaizen_analytics.sync.settings import Settings
from kaizen_analytics.sync.transport import Answer, Meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.store import Store

MAX_ATTEMPTS = 6
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0


class Transport(Protocol):
    """Whatever sends a body and tells what became of it."""

    def post(self, body: str, batch_key: str) -> Answer:
        """Send one body under its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The clock (milliseconds since the epoch), how to wait (seconds), and a random number from 0 to 1."""

    now_ms: Callable[[], int]
    sleep: Callable[[float], None]
    random: Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What would leave next: `state` is `pending` for a batch of the outbox, `new` for one not taken yet."""

    batch_key: str
    dataset: str
    rows: int
    body: str
    state: str


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    batches: int = 0
    rows: int = 0
    parked: int = 0


def configure(store: Store, settings: Settings, *, now_ms: int) -> None:
    """Keep the settings. What waits for another destination stays in the outbox for it."""
    write_sync_settings(store, settings.to_json(), now_ms=now_ms)


def load_settings(store: Store) -> Settings:
    """Return the settings of a store.

    Raises:
        ConfigError: nobody configured sync, or the settings are wrong.
    """
    record = load_sync_settings(store)
    if record is None:
        raise ConfigError("Sync is not configured. Name a destination: kaizen-analytics sync configure --to URL")
    return Settings.from_json(record)


def preview(store: Store, settings: Settings, redactor: Redactor, *, now_ms: int) -> list[Waiting]:
    """Return what `deliver_all` would send now, byte for byte and in order. Nothing is written or sent.

    Raises:
        RedactionError: a body holds what must not leave.
    """
    pending = [
        Waiting(
            batch_key=batch.batch_key, dataset=batch.dataset, rows=batch.rows, body=batch.body or "", state="pending"
        )
        for batch in list_batches(store, settings.url, BatchState.PENDING)
    ]
    new = [
        Waiting(batch_key=batch.batch_key, dataset=batch.dataset, rows=len(batch.rows), body=batch.body, state="new")
        for batch in plan_batches(store, settings, redactor, now_ms=now_ms)
    ]
    return pending + new


def deliver_all(
    store: Store,
    settings: Settings,
    redactor: Redactor,
    transport: Transport,
    timing: Timing,
    *,
    retry_parked: bool = False,
) -> Outcome:
    """Take what changed into the outbox and send it until everything is acknowledged or parked.

    Raises:
        ConfigError: sync is off.
        DeliveryError: the endpoint cannot be reached, refuses everything, or another run is in progress. What was not
            acknowledged waits for the next run.
        RedactionError: a body holds what must not leave; it was not sent.
    """
    require_enabled(settings)
    with lock(store.path):
        if retry_parked:
            release_parked(store, settings.url)
        _take(store, settings, redactor, timing)
        outcome = Outcome()
        for batch in list_batches(store, settings.url, BatchState.PENDING):
            _deliver(store, settings, batch, redactor, transport, timing, outcome)
    return outcome


def require_enabled(settings: Settings) -> None:
    """Raise `ConfigError` unless somebody enabled sync."""
    if not settings.enabled:
        raise ConfigError(
            "Sync is off. 'kaizen-analytics sync preview' shows what would leave; "
            "'kaizen-analytics sync configure --enable' turns it on.",
        )


@contextmanager
def lock(store_path: Path) -> Iterator[None]:
    """Hold the lock of this store's sync; a killed process leaves none behind.

    Raises:
        DeliveryError: another run holds it.
    """
    import filelock

    path = store_path.with_name(f"{store_path.name}-sync.lock")
    try:
        with filelock.FileLock(path, timeout=0, mode=0o600):
            yield
    except filelock.Timeout:
        raise DeliveryError(f"Another 'sync run' of {store_path.name} is in progress; wait for it to end.") from None


def _take(store: Store, settings: Settings, redactor: Redactor, timing: Timing) -> None:
    now_ms = timing.now_ms()
    batches = plan_batches(store, settings, redactor, now_ms=now_ms)
    if not batches:
        return
    with store.write():
        for batch in batches:
            add_batch(
                store,
                settings.url,
                batch_key=batch.batch_key,
                dataset=batch.dataset,
                body=batch.body,
                rows=batch.rows,
                now_ms=now_ms,
            )


def _deliver(
    store: Store,
    settings: Settings,
    batch: StoredBatch,
    redactor: Redactor,
    transport: Transport,
    timing: Timing,
    outcome: Outcome,
) -> None:
    body = batch.body or ""
    scan_body(batch.dataset, body, redactor.scanner)
    for attempt in range(MAX_ATTEMPTS):
        answer = transport.post(body, batch.batch_key)
        now_ms = timing.now_ms()
        if answer.meaning is Meaning.TAKEN:
            acknowledge_batch(store, settings.url, batch.batch_key, now_ms=now_ms)
            outcome.batches += 1
            outcome.rows += batch.rows
            return
        state = BatchState.PARKED if answer.meaning is Meaning.NEVER else BatchState.PENDING
        note_failure(store, settings.url, batch.batch_key, answer.reason, now_ms=now_ms, state=state)
        if answer.meaning is Meaning.NEVER:
            outcome.parked += 1
            return
        _stop_or_wait(settings, answer, attempt, timing, outcome)


def _stop_or_wait(settings: Settings, answer: Answer, attempt: int, timing: Timing, outcome: Outcome) -> None:
    sent = f"{outcome.batches} batches were acknowledged, the rest waits"
    if answer.meaning is Meaning.REFUSED:
        raise DeliveryError(
            f"{settings.url} refuses: {answer.reason}. {sent}. Check the address and the token, then run again."
        )
    asked_s = answer.retry_after_s or 0.0
    if attempt + 1 == MAX_ATTEMPTS or asked_s > LONGEST_PAUSE_S:
        when = f"in {asked_s:.0f} s" if asked_s else "later"
        raise DeliveryError(f"{settings.url} does not take a batch: {answer.reason}. {sent}. Run again {when}.")
    timing.sleep(max(asked_s, choose_pause(attempt, timing.random())))


def choose_pause(attempt: int, fraction: float) -> float:
    """Return how long to wait after an attempt (from 0): half to all of a time that doubles, up to a minute."""
    longest_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**attempt)
    return longest_s * (1 + fraction) / 2
