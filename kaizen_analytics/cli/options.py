"""Options that several commands share, and how a command finds its store."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.location import Location

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="The store. Default: $KAIZEN_STORE, else this repository's file under $KAIZEN_HOME.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ShareOption = Annotated[
    bool,
    typer.Option("--share", help="Redact secrets and identities, and write nothing in which one is left."),
]


def locate(explicit: Path | None) -> Location:
    """Return where the store of this command lies."""
    from kaizen_analytics.store.location import locate_store

    return locate_store(explicit, environment=os.environ, folder=Path.cwd(), home=Path.home())


def repeat_store(explicit: Path | None) -> str:
    """Return the option that makes the next command find the store of this one, with a blank before it."""
    return "" if explicit is None else f" --store {shlex.quote(str(explicit))}"


def open_store(explicit: Path | None, *, create: bool = False, read_only: bool = False) -> Store:
    """Open the store of this command."""
    from kaizen_analytics.store import Store

    return Store.open(locate(explicit).path, create=create, read_only=read_only)
