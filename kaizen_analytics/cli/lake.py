"""The options of the commands that read a lake."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from kaizen_analytics.cli.options import Options
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.settings import find_home
from kaizen_analytics.exports.engines import Engine, choose_engine
from kaizen_analytics.exports.lake.reading import LAKE_KEY, load_lake_key

LakeKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--lake-key", metavar="FILE", help="The key that the machines of a lake share. Default: $KAIZEN_HOME/lake.key."
    ),
]


def default_key() -> Path:
    """Return where the lake key of this account lies unless another is named.

    >>> default_key().name
    'lake.key'
    """
    return find_home(os.environ, Path.home()) / LAKE_KEY


@dataclass(frozen=True, kw_only=True)
class LakeOptions(Options):
    """Which lake is read instead of a store, and how."""

    lake: Annotated[
        str | None,
        typer.Option(
            "--lake", metavar="URL", help="Read the exports of many machines there instead of a store: a folder, s3://…"
        ),
    ] = None
    lake_key: LakeKeyOption = None
    engine: Annotated[Literal["duckdb", "spark"] | None, typer.Option(help="Where the queries of the lake run.")] = None
    spark_remote: Annotated[
        str | None,
        typer.Option(
            "--spark-remote", metavar="URL", help="--engine spark: a Spark Connect server, such as sc://host:15002."
        ),
    ] = None

    def check(self, store: Path | None) -> None:
        """Refuse options that name a store and a lake, or belong to a lake and none is named.

        Raises:
            ConfigError: they do.
        """
        if self.lake is None and (self.lake_key, self.engine, self.spark_remote) != (None, None, None):
            raise ConfigError("--lake-key, --engine and --spark-remote belong to --lake URL.")
        if self.lake is not None and store is not None:
            raise ConfigError("Give --store or --lake, not both.")

    def choose_engine(self) -> Engine:
        """Return where the queries run."""
        return choose_engine(self.engine, self.spark_remote)

    def read_key(self) -> bytes | None:
        """Return the key for reading the lake: the one that is named, else the default one, else None."""
        if self.lake_key is None and not default_key().exists():
            return None
        return load_lake_key(self.lake_key or default_key())
