"""The options of the commands that read a lake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.settings import find_home
from kaizen_analytics.exports.lake.reading import LAKE_KEY, load_lake_key

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake", metavar="URL", help="Read the exports of many machines there instead of a store: a folder, s3://…"
    ),
]
LakeKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--lake-key", metavar="FILE", help="The key that the machines of a lake share. Default: $KAIZEN_HOME/lake.key."
    ),
]
EngineOption = Annotated[Literal["duckdb", "spark"] | None, typer.Option(help="Where the queries of the lake run.")]
RemoteOption = Annotated[
    str | None,
    typer.Option(
        "--spark-remote", metavar="URL", help="--engine spark: a Spark Connect server, such as sc://host:15002."
    ),
]


def check_source(store: Path | None, lake: str | None, *lake_options: object) -> None:
    """Refuse options that name a store and a lake, or belong to a lake and none is named.

    Raises:
        ConfigError: they do.

    >>> check_source(Path("team.db"), None, None)
    >>> check_source(Path("team.db"), "s3://team/lake")
    Traceback (most recent call last):
        ...
    kaizen_analytics.core.errors.ConfigError: Give --store or --lake, not both.
    """
    if lake is None and any(option is not None for option in lake_options):
        raise ConfigError("--lake-key, --engine and --spark-remote belong to --lake URL.")
    if lake is not None and store is not None:
        raise ConfigError("Give --store or --lake, not both.")


def default_key() -> Path:
    """Return where the lake key of this account lies unless another is named.

    >>> default_key().name
    'lake.key'
    """
    return find_home(os.environ, Path.home()) / LAKE_KEY


def read_key(explicit: Path | None) -> bytes | None:
    """Return the key for reading a lake: the one that is named, else the default one, else None.

    >>> from kaizen_analytics.exports.lake.reading import make_lake_key
    >>> make_lake_key(tmp / "lake.key") == read_key(tmp / "lake.key")
    True
    """
    if explicit is None and not default_key().exists():
        return None
    return load_lake_key(explicit or default_key())
