"""Where the queries of a lake run: DuckDB inside this process, or any Spark that speaks Spark Connect.

One query text over named relations gives one Polars frame. No engine attaches a store or loads an extension; DuckDB
opens no file but those of its relations. The extra `spark` installs the client of Spark, which needs no Java; the
server reads `ParquetFiles` itself, so their paths must mean the same to it (a shared folder, an object store).
"""

from __future__ import annotations

import socket
import sys
import tempfile
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import polars as pl

from kaizen_analytics.core.errors import ConfigError, QueryError
from kaizen_analytics.store.sql import define_frame, hide_progress_bar, quote_name, quote_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb

_MEMORY_LIMIT_MB = 600
"""What DuckDB may hold before it spills; leaves room for the interpreter and the result within 1 GB."""

_SPARK_PORT = 15002


@dataclass(frozen=True, slots=True)
class ParquetFiles:
    """The rows of one or more Parquet files with the same columns; Spark may read URLs."""

    paths: tuple[Path | str, ...]


class Engine(Protocol):
    """Runs a `select` over named relations."""

    def run(self, sql: str, relations: Mapping[str, pl.DataFrame | ParquetFiles]) -> pl.DataFrame:
        """Return the rows of `sql`, which names each relation as a table.

        Raises:
            ConfigError: the extra `spark` is not installed.
            QueryError: the engine cannot be reached, refused the query, or cannot read a file.
        """


@dataclass(frozen=True, slots=True)
class EmbeddedEngine:
    """Runs each query in a DuckDB of its own that can read only the files of the relations it was given."""

    def run(self, sql: str, relations: Mapping[str, pl.DataFrame | ParquetFiles]) -> pl.DataFrame:
        """Return the rows of `sql`; see `Engine`."""
        import duckdb

        with tempfile.TemporaryDirectory(prefix="kaizen-spill-") as spill:
            connection = _connect(Path(spill), relations)
            try:
                for name, relation in relations.items():
                    if isinstance(relation, pl.DataFrame):
                        define_frame(connection, name, relation)
                        continue
                    paths = ", ".join(quote_text(str(path)) for path in relation.paths)
                    connection.execute(f"create view {quote_name(name)} as select * from read_parquet([{paths}])")
                return connection.execute(sql).pl()
            except duckdb.Error as error:
                raise QueryError(f"The query failed in DuckDB: {error}") from error
            finally:
                connection.close()


@dataclass(frozen=True, slots=True)
class _SparkEngine:
    """Runs each query in a session of its own on the server at `remote`, such as `sc://host:15002`."""

    remote: str

    def __post_init__(self) -> None:
        if not self.remote.startswith("sc://"):
            raise ConfigError(f"The Spark address is {self.address!r}; expected sc://HOST:PORT (Spark Connect).")

    def run(self, sql: str, relations: Mapping[str, pl.DataFrame | ParquetFiles]) -> pl.DataFrame:
        """Return the rows of `sql`; see `Engine`."""
        with self._session() as session:
            for name, relation in relations.items():
                _define_in_spark(session, name, relation)
            return pl.DataFrame(session.sql(sql).toArrow())

    @property
    def address(self) -> str:
        """The address without its parameters, one of which may be a token."""
        return self.remote.split(";", 1)[0].rstrip("/")

    def _probe(self) -> None:
        # The client would try to connect for ten minutes before it says anything.
        parts = urlsplit(self.address)
        try:
            socket.create_connection((parts.hostname or "", parts.port or _SPARK_PORT), timeout=10).close()
        except (OSError, ValueError) as error:
            raise QueryError(
                f"No Spark Connect server answers at {self.address}: {error}. Start one, or correct --spark-remote."
            ) from error

    @contextmanager
    def _session(self) -> Iterator[Any]:
        try:
            with _named_main(), warnings.catch_warnings():
                # It has not been tried with the pandas that is installed; it gets no pandas frame from us.
                warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
                from pyspark.errors import PySparkException
                from pyspark.sql.connect.session import SparkSession
        except ImportError as error:
            raise ConfigError("Spark needs the extra 'spark': pip install 'kaizen_analytics[spark]'.") from error
        self._probe()
        try:
            session = SparkSession.builder.remote(self.remote).create()
            try:
                yield session
            finally:
                session.stop()
        except PySparkException as error:
            raise QueryError(f"The query failed on {self.address}: {error}") from error


def choose_engine(name: str | None, spark_remote: str | None) -> Engine:
    """Return the engine that the options `--engine` and `--spark-remote` name; DuckDB if they name none.

    Raises:
        ConfigError: Spark without an address, or an address without Spark.

    >>> choose_engine("spark", "sc://host:15002")
    _SparkEngine(remote='sc://host:15002')
    """
    if name == "spark":
        if spark_remote is None:
            raise ConfigError("--engine spark needs --spark-remote sc://HOST:PORT.")
        return _SparkEngine(spark_remote)
    if spark_remote is not None:
        raise ConfigError("--spark-remote needs --engine spark.")
    return EmbeddedEngine()


def _connect(spill: Path, relations: Mapping[str, pl.DataFrame | ParquetFiles]) -> duckdb.DuckDBPyConnection:
    import duckdb

    files = [path for relation in relations.values() if isinstance(relation, ParquetFiles) for path in relation.paths]
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
    hide_progress_bar(connection)
    for setting in (
        "preserve_insertion_order = false",
        f"memory_limit = '{_MEMORY_LIMIT_MB}MB'",
        f"temp_directory = {quote_text(str(spill))}",
        f"allowed_paths = [{', '.join(quote_text(str(path)) for path in files)}]",
        f"allowed_directories = [{quote_text(str(spill))}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"set {setting}")
    return connection


def _define_in_spark(session: Any, name: str, relation: pl.DataFrame | ParquetFiles) -> None:  # noqa: ANN401
    if isinstance(relation, ParquetFiles):
        rows = session.read.parquet(*(str(path) for path in relation.paths))
    elif relation.is_empty():
        from pyspark.sql.pandas.types import from_arrow_schema

        rows = session.createDataFrame([], from_arrow_schema(relation.to_arrow().schema))
    else:
        rows = session.createDataFrame(relation.to_arrow())
    rows.createOrReplaceTempView(name)


@contextmanager
def _named_main() -> Iterator[None]:
    """Give the main module a file while the client is imported.

    The client takes a main module without one (`python -c`, a worker process) for a run of its own doctests, and exits.
    """
    main = sys.modules["__main__"]
    if hasattr(main, "__file__"):
        yield
        return
    main.__file__ = "<string>"
    try:
        yield
    finally:
        del main.__file__
