"""Batches: the rows that changed since they were last taken, as exact bytes under a key made from them.

The same store, settings and former batches give the same bytes; nothing in a body says when it was made. A row carries
a revision that grows each time its content changes: whoever receives a row twice keeps the higher one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.datasets.rows import READERS
from kaizen_analytics.redact import refuse_leaks
from kaizen_analytics.store.outbox import TakenRow, load_taken_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.datasets.fields import Dataset
    from kaizen_analytics.redact import Redactor, Scanner
    from kaizen_analytics.redact.projection import Leaving
    from kaizen_analytics.store import Store
    from kaizen_analytics.sync.settings import Settings

_DIGITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one request carries: `body` is sent as it is, under `batch_key`."""

    batch_key: str
    dataset: str
    body: str
    rows: tuple[TakenRow, ...]


def plan_batches(store: Store, settings: Settings, redactor: Redactor, *, now_ms: int) -> list[Batch]:
    """Return the batches for all rows that are new or changed; nothing is written.

    Raises:
        RedactionError: a value has not its declared type, or a body holds what must not leave.
    """
    return [batch for name in settings.tables for batch in _plan_table(store, settings, name, redactor, now_ms)]


def scan_body(dataset: str, body: str, scanner: Scanner) -> None:
    """Fail if a body holds anything that must not leave.

    Raises:
        RedactionError: something was found.
    """
    refuse_leaks({f"{dataset}.json": body.encode()}, scanner)


def _plan_table(store: Store, settings: Settings, name: str, redactor: Redactor, now_ms: int) -> Iterator[Batch]:
    dataset = DATASETS[name]()
    rows = dataset.project(READERS[name](store, now_ms), redactor)
    changed = _find_changed(dataset, rows, load_taken_rows(store, settings.url, name))
    for start in range(0, len(changed), settings.batch_rows):
        yield _make_batch(dataset, changed[start : start + settings.batch_rows], redactor.scanner)


def _find_changed(
    dataset: Dataset, rows: Sequence[Mapping[str, Leaving]], taken: Mapping[str, TakenRow]
) -> list[tuple[TakenRow, Mapping[str, Leaving]]]:
    found = []
    for row in rows:
        row_key = "|".join(str(row[name]) for name in dataset.row_id)
        digest = _digest(_dump(row))
        former = taken.get(row_key)
        if former is None or former.digest != digest:
            revision = 1 if former is None else former.revision + 1
            found.append((TakenRow(row_key=row_key, digest=digest, revision=revision), row))
    return found


def _make_batch(dataset: Dataset, changed: Sequence[tuple[TakenRow, Mapping[str, Leaving]]], scanner: Scanner) -> Batch:
    body = _dump(
        {"schema": dataset.label, "rows": [{"revision": taken.revision, **row} for taken, row in changed]},
    )
    scan_body(dataset.name, body, scanner)
    return Batch(
        batch_key=_digest(body),
        dataset=dataset.name,
        body=body,
        rows=tuple(taken for taken, _ in changed),
    )


def _dump(value: Mapping[str, object]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
