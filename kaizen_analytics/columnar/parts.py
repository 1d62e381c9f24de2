"""Events as Parquet parts that name their session by a number.

A number belongs to one state of one session: when a session changes, it is read again under a new number, and the rows
under the old one are dead, because no entry of the table `keys` leads to them any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import polars as pl

from kaizen_analytics.columnar.extraction import EVENT_SCHEMA, check_events
from kaizen_analytics.columnar.manifest import STAGED, CachedFile, seal_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow.parquet as pq

KEY_SCHEMA = pl.Schema(
    {"session_id": pl.String(), "session_key": pl.Int32(), "events": pl.Int64(), "row_checks": pl.UInt64()},
)
"""The table `keys`: one row per session, with the number of its rows in the parts and their check."""

PART_SCHEMA = pl.Schema({**EVENT_SCHEMA, "session_id": pl.Int32()})
"""Columns of a part: those of staging/events.sql, with the session's number for its id."""

_COMPRESSION: Final = "snappy"
_ASCENDING = ("session_id", "seq", "ts_ms")
_SPREAD = (
    "tokens_in",
    "tokens_out",
    "reasoning_tokens",
    "cache_creation_tokens",
    "cache_read_tokens",
    "cost_usd_e6",
)
"""Columns whose values seldom repeat: a dictionary of them costs time and room."""

MOST_PARTS = 16
LEAST_LIVE_SHARE = 0.7


@dataclass(slots=True)
class _Entry:
    """The number of a session, and the check of its rows so far."""

    key: int
    events: int = 0
    row_checks: int = 0


@dataclass(slots=True)
class PartWriter:
    """Writes batches of events into one part and numbers their sessions from `first_key` on."""

    folder: Path
    first_key: int
    rows: int = 0
    # Plain Python values: a frame kept from a batch would keep the buffers of the whole batch alive.
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _file: pq.ParquetWriter | None = None

    def add(self, events: pl.DataFrame) -> None:
        """Append events with their `row_check`."""
        checks = check_events(events).sort("session_id")
        keys = checks.select("session_id", key=pl.Series(map(self._count, *checks), dtype=pl.Int32))
        keyed = events.join(keys, on="session_id", how="inner", maintain_order="left")
        self._write(keyed.with_columns(pl.col("key").alias("session_id")).select(list(PART_SCHEMA)))
        self.rows += events.height

    def finish(self) -> tuple[pl.DataFrame, tuple[CachedFile, ...]]:
        """Return the new entries of `keys`, and the part unless there was no event."""
        self.abandon()
        parts = (seal_file(self.folder, self._staged, "events", self.rows),) if self.rows else ()
        return self._keys(), parts

    def abandon(self) -> None:
        """Close the file; what was written is swept later."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    @property
    def _staged(self) -> Path:
        return self.folder / f"{STAGED}-events.parquet"

    def _write(self, frame: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._file is None:
            # Without Arrow's own schema, the texts are plain ones to every reader; Polars calls them large.
            self._file = pq.ParquetWriter(
                self._staged,
                table.schema,
                compression=_COMPRESSION,
                use_dictionary=[name for name in PART_SCHEMA if name not in _ASCENDING + _SPREAD],
                column_encoding=dict.fromkeys(_ASCENDING, "DELTA_BINARY_PACKED"),
                store_schema=False,
            )
        self._file.write_table(table)

    def _count(self, session_id: str, events: int, row_checks: int) -> int:
        entry = self._entries.setdefault(session_id, _Entry(self.first_key + len(self._entries)))
        entry.events += events
        entry.row_checks = (entry.row_checks + row_checks) % 2**64
        return entry.key

    def _keys(self) -> pl.DataFrame:
        rows = [(name, entry.key, entry.events, entry.row_checks) for name, entry in self._entries.items()]
        return pl.DataFrame(rows, schema=KEY_SCHEMA, orient="row")


def complete_keys(keys: pl.DataFrame, tables: Sequence[pl.Series]) -> pl.DataFrame:
    """Add an entry for each session id of `tables` that has no event, and order the entries by number."""
    ids = pl.concat([series.rename("session_id") for series in tables]).drop_nulls().unique().sort()
    missing = ids.filter(~ids.is_in(keys["session_id"].implode()))
    first = next_key(keys)
    added = pl.DataFrame(
        {
            "session_id": missing,
            "session_key": range(first, first + missing.len()),
            "events": [0] * missing.len(),
            "row_checks": [0] * missing.len(),
        },
        schema=KEY_SCHEMA,
    )
    return pl.concat([keys, added]).sort("session_key")


def next_key(keys: pl.DataFrame) -> int:
    """Return the first number that no session of `keys` has."""
    return max(keys["session_key"].to_list(), default=-1) + 1


def compact_parts(folder: Path, keys: pl.DataFrame, parts: tuple[CachedFile, ...]) -> tuple[CachedFile, ...]:
    """Rewrite the parts as one without dead rows, when they are many or mostly dead."""
    live = int(keys["events"].sum())
    stored = sum(part.rows for part in parts)
    if len(parts) <= MOST_PARTS and live >= stored * LEAST_LIVE_SHARE:
        return parts
    staged = folder / f"{STAGED}-compacted.parquet"
    rows = pl.scan_parquet([folder / part.name for part in parts], glob=False)
    numbers = keys.lazy().select(session_id="session_key")
    rows.join(numbers, on="session_id", how="semi").sink_parquet(staged, compression=_COMPRESSION)
    return (seal_file(folder, staged, "events", live),) if live else ()
