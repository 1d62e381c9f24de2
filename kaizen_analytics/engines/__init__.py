"""Where a portable query runs: one query text over named relations, one Polars frame back.

`EmbeddedEngine` is DuckDB inside this process; `SparkEngine` is any Spark that speaks Spark Connect. No engine attaches
a store or loads an extension, so an engine may run SQL that a user wrote; the embedded one opens no file but those of
the relations that it was given.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.engines.embedded import EmbeddedEngine
from kaizen_analytics.engines.relations import Engine, ParquetFiles
from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from kaizen_analytics.engines.spark import SparkEngine

__all__ = ["EmbeddedEngine", "Engine", "EngineName", "ParquetFiles", "make_engine"]


class EngineName(StrEnum):
    """The engines that a command can be told to use."""

    DUCKDB = "duckdb"
    SPARK = "spark"


def make_engine(name: EngineName, spark_remote: str | None = None) -> EmbeddedEngine | SparkEngine:
    """Return the engine of that name.

    Raises:
        ConfigError: Spark without an address, or an address without Spark.
    """
    if name is EngineName.SPARK:
        from kaizen_analytics.engines.spark import SparkEngine

        if spark_remote is None:
            raise ConfigError("--engine spark needs --spark-remote sc://HOST:PORT.")
        return SparkEngine(spark_remote)
    if spark_remote is not None:
        raise ConfigError("--spark-remote needs --engine spark.")
    return EmbeddedEngine()
