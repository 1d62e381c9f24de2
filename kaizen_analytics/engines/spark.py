"""Any Spark that speaks Spark Connect: a cluster, or a Sail server on one machine.

The extra `spark` installs the client, which needs no Java. The server reads `ParquetFiles` itself, so their paths must
mean the same to it (a shared folder, an object store); frames travel with the query.
"""

from __future__ import annotations

import re
import socket
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import polars as pl

from kaizen_analytics.engines.relations import ParquetFiles
from kaizen_analytics.errors import ConfigError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_COMMENT_OR_TEXT = re.compile(r"--[^\n]*|'(?:[^']|'')*'")
_PARAMETER = re.compile(r"\$([a-z_][a-z0-9_]*)")

DEFAULT_PORT = 15002
"""Where a Spark Connect server listens unless it was told otherwise."""


@dataclass(frozen=True, slots=True)
class SparkEngine:
    """Runs each query in a session of its own on the server at `remote`, such as `sc://host:15002`."""

    remote: str

    def __post_init__(self) -> None:
        if not self.remote.startswith("sc://"):
            raise ConfigError(f"The Spark address is {self.address!r}; expected sc://HOST:PORT (Spark Connect).")

    def run(
        self,
        sql: str,
        relations: Mapping[str, pl.DataFrame | ParquetFiles],
        parameters: Mapping[str, object] | None = None,
    ) -> pl.DataFrame:
        """Return the rows of `sql`.

        Raises:
            ConfigError: the extra `spark` is not installed.
            QueryError: the server cannot be reached, or refused the query.
        """
        with self._session() as session:
            for name, relation in relations.items():
                _define(session, name, relation)
            return pl.DataFrame(session.sql(name_parameters(sql), args=dict(parameters or {})).toArrow())

    @property
    def address(self) -> str:
        """The address without its parameters, one of which may be a token."""
        return self.remote.split(";", 1)[0].rstrip("/")

    def _probe(self) -> None:
        # The client would try to connect for ten minutes before it says anything.
        parts = urlsplit(self.address)
        try:
            socket.create_connection((parts.hostname or "", parts.port or DEFAULT_PORT), timeout=10).close()
        except (OSError, ValueError) as error:
            raise QueryError(
                f"No Spark Connect server answers at {self.address}: {error}. Start one, or correct --spark-remote.",
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


def name_parameters(sql: str) -> str:
    """Return a query with Spark's `:name` for our `$name`, but in comments and texts."""
    pieces, end = [], 0
    for match in _COMMENT_OR_TEXT.finditer(sql):
        pieces += [_PARAMETER.sub(r":\1", sql[end : match.start()]), match.group()]
        end = match.end()
    return "".join(pieces) + _PARAMETER.sub(r":\1", sql[end:])


def _define(session: Any, name: str, relation: pl.DataFrame | ParquetFiles) -> None:  # noqa: ANN401 - no types there
    if isinstance(relation, ParquetFiles):
        rows = session.read.parquet(*(str(path) for path in relation.paths))
    elif relation.is_empty():
        from pyspark.sql.pandas.types import from_arrow_schema

        rows = session.createDataFrame([], from_arrow_schema(relation.to_arrow().schema))
    else:
        rows = session.createDataFrame(relation.to_arrow())
    rows.createOrReplaceTempView(name)
