"""`init`, `backup` and `import`: make a store, copy it, and fill it from a file of kaizen-cli."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.options import StoreOption, command, locate, open_store
from kaizen_analytics.cli.output import clean
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.store import Store
from kaizen_analytics.store.connection import copy_file
from kaizen_analytics.store.importing import import_kaizen
from kaizen_analytics.store.location import KAIZEN_NAME

app = typer.Typer()


@command(app, "init", "init --store team.db")
def _init(*, store: StoreOption = None) -> Iterator[object]:
    """Create a store, or bring an existing one up to date."""
    path = locate(store).path
    existed = path.exists()
    Store.open(path, create=True, ours=True).close()
    yield {"store": str(path), "created": not existed}
    print(f"{'Store is up to date' if existed else 'Created a store'}: {path}")


@command(app, "backup", "backup ~/backups/analytics-2026-11-30.db")
def _backup(
    file: Annotated[Path, typer.Argument(help="Where the copy goes; nothing may be there yet.", show_default=False)],
    *,
    store: StoreOption = None,
) -> Iterator[object]:
    """Copy a store into a file while it is in use. The copy is a store: 'doctor --deep --store FILE' checks it."""
    with open_store(store) as opened:
        path = opened.path
    copy_file(path, file)
    size_bytes = file.stat().st_size
    yield {"store": str(path), "file": str(file), "size_bytes": size_bytes}
    print(clean(f"Copied {path} to {file}: {size_bytes / 1e6:,.1f} MB"))


@command(app, "import", "import ~/.kaizen/projects/home-dev-app/kaizen.db")
def _import(
    file: Annotated[
        Path | None, typer.Argument(help="The database of kaizen-cli. Default: this repository's.", show_default=False)
    ] = None,
    *,
    store: StoreOption = None,
) -> Iterator[object]:
    """Take over experiments, tags and observations from kaizen-cli.

    Its file is only read. A second import adds only what is new. Sessions are not taken over: 'ingest' reads them from
    the transcripts.
    """
    location = locate(store)
    if file is None and location.workspace is None:
        raise ConfigError("Name the database of kaizen-cli: kaizen-analytics import FILE.")
    path = file or location.path.with_name(KAIZEN_NAME)
    with Store.open(location.path, create=True, ours=True) as opened:
        summary = import_kaizen(opened, path, now_ms=read_clock())
    yield {"store": str(location.path), "file": str(path), **asdict(summary)}
    for item in summary.unreadable:
        print(clean(f"warning: {item.reason}"), file=sys.stderr)
    parts = [f"{summary.experiments:,} experiments", f"{summary.tags:,} tags"]
    parts += [f"{count:,} rows of {table}" for table, count in summary.rows.items() if count]
    print(f"Imported from {path}: {', '.join(parts)}")
