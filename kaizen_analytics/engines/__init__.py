"""Where a portable query runs: one query text over named relations, one Polars frame back.

`EmbeddedEngine` is DuckDB inside this process. An engine never attaches a store and never loads an extension, so it
may run SQL that a user wrote; the only files that it opens are those of the relations it was given.
"""

from kaizen_analytics.engines.embedded import EmbeddedEngine
from kaizen_analytics.engines.relations import Engine, ParquetFiles

__all__ = ["EmbeddedEngine", "Engine", "ParquetFiles"]
