"""What a query reads: a frame in memory, or Parquet files on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """The rows of one or more Parquet files with the same columns; an engine that can may read URLs."""

    paths: tuple[Path | str, ...]

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("ParquetFiles needs at least one path; give an empty frame for no rows.")


class Engine(Protocol):
    """Runs a `select` over named relations."""

    def run(
        self,
        sql: str,
        relations: Mapping[str, pl.DataFrame | ParquetFiles],
        parameters: Mapping[str, object] | None = None,
    ) -> pl.DataFrame:
        """Return the rows of `sql`, which names each relation as a table and each parameter as `$name`."""
