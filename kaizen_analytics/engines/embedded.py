"""DuckDB inside this process, with a limit on its memory and a folder to spill into."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from kaizen_analytics.engines.relations import ParquetFiles
from kaizen_analytics.errors import QueryError
from kaizen_analytics.store.connection import quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

MEMORY_LIMIT_MB = 600
"""Leaves room for the interpreter and the result within 1 GB."""

_STREAM = "relation_being_copied"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedEngine:
    """Runs each query in a DuckDB of its own that can read only the files of the relations it was given."""

    memory_limit_mb: int = MEMORY_LIMIT_MB
    spill_folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    threads: int | None = None

    def run(
        self,
        sql: str,
        relations: Mapping[str, pl.DataFrame | ParquetFiles],
        parameters: Mapping[str, object] | None = None,
    ) -> pl.DataFrame:
        """Return the rows of `sql`.

        Raises:
            QueryError: DuckDB refused the query, or a file of a relation cannot be read.
        """
        with tempfile.TemporaryDirectory(prefix="kaizen-spill-", dir=self.spill_folder) as spill:
            connection = self._connect(Path(spill), relations)
            try:
                for name, relation in relations.items():
                    _define(connection, name, relation)
                return connection.execute(sql, dict(parameters or {})).pl()
            except duckdb.Error as error:
                raise QueryError(f"The query failed in DuckDB: {error}") from error
            finally:
                connection.close()

    def _connect(
        self,
        spill: Path,
        relations: Mapping[str, pl.DataFrame | ParquetFiles],
    ) -> duckdb.DuckDBPyConnection:
        files = [
            path for relation in relations.values() if isinstance(relation, ParquetFiles) for path in relation.paths
        ]
        connection = duckdb.connect(
            config={"autoinstall_known_extensions": False, "autoload_known_extensions": False},
        )
        connection.execute("set enable_progress_bar = false")
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"set memory_limit = '{self.memory_limit_mb}MB'")
        connection.execute(f"set temp_directory = {quote_text(str(spill))}")
        if self.threads is not None:
            connection.execute(f"set threads = {self.threads}")
        connection.execute(f"set allowed_paths = [{', '.join(quote_text(str(path)) for path in files)}]")
        connection.execute(f"set allowed_directories = [{quote_text(str(spill))}]")
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
        return connection


def _define(connection: duckdb.DuckDBPyConnection, name: str, relation: pl.DataFrame | ParquetFiles) -> None:
    if isinstance(relation, ParquetFiles):
        paths = ", ".join(quote_text(str(path)) for path in relation.paths)
        connection.execute(f"create view {quote_name(name)} as select * from read_parquet([{paths}])")
    else:
        # As a bare Arrow stream: to scan anything else, DuckDB imports pyarrow.dataset, and with it all of pandas.
        connection.register(_STREAM, relation.__arrow_c_stream__())
        connection.execute(f"create table {quote_name(name)} as select * from {_STREAM}")
        connection.unregister(_STREAM)
