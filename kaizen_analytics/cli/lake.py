"""`export lake`, and the options of the commands that read a lake."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kaizen_analytics.cli.cache import refresh_mirror
from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from kaizen_analytics.engines import Engine
    from kaizen_analytics.lake import LakePlan

EXAMPLES = """\b
Examples:
  kaizen-analytics export lake --make-key
  kaizen-analytics export lake --to /mnt/team/lake
  kaizen-analytics export lake --to s3://team/lake --preview
"""

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
EngineOption = Annotated[
    Literal["duckdb", "spark"] | None, typer.Option(help="Where the queries run; docs/scale.md says when which pays.")
]
RemoteOption = Annotated[
    str | None,
    typer.Option(
        "--spark-remote", metavar="URL", help="--engine spark: a Spark Connect server, such as sc://host:15002."
    ),
]


def lake(
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A folder, file:///…, or an object store: s3://, gs://, az://, abfss://."),
    ] = None,
    store: StoreOption = None,
    lake_key: LakeKeyOption = None,
    make_key: Annotated[
        bool, typer.Option("--make-key", help="Make the key, once, on the first machine; the others copy the file.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="List the files that would be written; nothing leaves.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the facts that metrics and experiments need into a lake that many machines share.

    No text and no path leaves; people, workspaces, branches and sessions leave as stand-ins under the lake key. Only
    what changed since the last export is written.
    """
    from kaizen_analytics.lake import load_lake_key, make_lake_key

    key_file = lake_key or default_key()
    if make_key:
        make_lake_key(key_file)
        _announce_key(key_file, as_json=as_json and to is None)
    if to is None:
        if not make_key:
            raise ConfigError("export lake needs --to URL: a folder or an object store.")
        return
    _export(to, locate(store).path, load_lake_key(key_file), preview=preview, as_json=as_json)


def default_key() -> Path:
    """Return where the lake key of this account lies unless another is named."""
    from kaizen_analytics.lake.keys import LAKE_KEY

    return _home() / LAKE_KEY


def read_key(explicit: Path | None) -> bytes | None:
    """Return the key for reading a lake: the one that is named, else the default one, else None."""
    from kaizen_analytics.lake import load_lake_key

    if explicit is None and not default_key().exists():
        return None
    return load_lake_key(explicit or default_key())


def choose_engine(name: str | None, spark_remote: str | None) -> Engine | None:
    """Return the engine that was asked for, None for none."""
    if name is None and spark_remote is None:
        return None
    from kaizen_analytics.engines import EngineName, make_engine

    return make_engine(EngineName(name or "duckdb"), spark_remote)


def _announce_key(path: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"lake_key": str(path)})
    else:
        # Beside the result of an export, which may be one JSON document.
        print(f"Made the lake key {path}. Copy it to every machine of the lake, and keep it private.", file=sys.stderr)


def _home() -> Path:
    return Path(os.environ.get("KAIZEN_HOME") or Path.home() / ".kaizen").expanduser()


def _export(to: str, path: Path, key: bytes, *, preview: bool, as_json: bool) -> None:
    from dataclasses import asdict

    from kaizen_analytics.lake import export_lake, plan_export

    refresh_mirror(path)
    if preview:
        _show_plan(plan_export(path, to, key, home=_home()), as_json=as_json)
        return
    done = export_lake(path, to, key, home=_home())
    if as_json:
        print_json({"to": to, **asdict(done)})
    else:
        print(
            f"Wrote {done.files_written:,} files with {done.rows:,} rows ({done.bytes / 1e6:,.1f} MB) to {to}; "
            f"{done.files_kept:,} were up to date, {done.files_removed:,} replaced or left over were removed."
        )


def _show_plan(plan: LakePlan, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({**asdict(plan), "rows": plan.rows, "bytes": plan.bytes})
        return
    print_table(["file", "rows", "bytes"], [(file.name, file.rows, file.bytes) for file in plan.files])
    tables = {file.table_name: ", ".join(file.columns) for file in plan.files}
    for name, columns in tables.items():
        print(f"{name}: {columns}")
    print(
        f"{len(plan.files):,} files to write, {plan.files_kept:,} up to date, {plan.files_dropped:,} no longer valid."
    )
