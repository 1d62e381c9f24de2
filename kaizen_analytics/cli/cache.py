"""`cache`: the columnar mirror behind metrics, evaluations, reports and notebooks."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kaizen_analytics.columnar.build import Progress
    from kaizen_analytics.columnar.manifest import Manifest

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at, rebuild or remove the columnar mirror of a store. It is a copy, built when it is needed; "
    "removing it loses nothing.",
)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.add_typer(group, name="cache")


@group.command(epilog="Example: kaizen-analytics cache status --store team.db")
def status(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Say where the mirror lies, what it holds, and whether the store has changed since.

    A changed store is no problem: the next command that needs the mirror brings it up to date.
    """
    path = locate(store).path.absolute()
    facts = _describe(path)
    if as_json:
        print_json(facts)
        return
    print(f"Store   {path}\nMirror  {facts['folder']}")
    if facts["state"] == "none":
        print("State   not built yet; the next command that needs it builds it")
        return
    print(f"State   {facts['state']}")
    print(f"Events  {facts['events']:,} in {facts['sessions']:,} sessions, {facts['bytes'] / 1e6:,.1f} MB")
    print(f"Refreshed {facts['refreshed_at']} in {facts['refresh_duration_ms'] / 1000:,.1f} s")
    print(f"Compared event by event {facts['compared_at']}")


@group.command(epilog="Example: kaizen-analytics cache rebuild --store team.db")
def rebuild(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Read the whole store again and replace the mirror."""
    from kaizen_analytics.columnar import refresh

    path = locate(store).path.absolute()
    with show_progress("Reading events") as progress:
        manifest = refresh(path, progress=progress, anew=True)
    if as_json:
        print_json(_describe(path))
    else:
        print(f"Read {manifest.events:,} events in {manifest.refresh_duration_ms / 1000:,.1f} s")


@group.command(epilog="Example: kaizen-analytics cache clear --store team.db")
def clear(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Remove the mirror; the store is not touched."""
    from kaizen_analytics.columnar import clear_mirror

    path = locate(store).path.absolute()
    freed = clear_mirror(path)
    if as_json:
        print_json({"store": str(path), "freed_bytes": freed})
    else:
        print(f"Removed {freed / 1e6:,.1f} MB")


def refresh_mirror(path: Path) -> None:
    """Bring the mirror of a store up to date, with a progress bar if that takes a while."""
    from kaizen_analytics.columnar import refresh

    with show_progress("Reading events") as progress:
        refresh(path, progress=progress)


@contextmanager
def show_progress(label: str) -> Iterator[Progress | None]:
    """Show a progress bar on standard error while the block runs; nothing unless that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _describe(path: Path) -> dict[str, Any]:
    from kaizen_analytics.columnar.manifest import load_manifest
    from kaizen_analytics.columnar.mirror import find_folder, mirror_bytes, open_manifest

    folder = find_folder(path)
    manifest = load_manifest(folder)
    if manifest is None:
        return {"store": str(path), "folder": str(folder), "state": "none"}
    fresh = open_manifest(folder, path) is not None
    return {
        "store": str(path),
        "folder": str(folder),
        "state": "up to date" if fresh else "the store changed since",
        "bytes": mirror_bytes(folder),
        **_counts(manifest),
    }


def _counts(manifest: Manifest) -> dict[str, Any]:
    return {
        "events": manifest.events,
        "sessions": manifest.tables["sessions"].rows,
        "refreshed_at": _time(manifest.refreshed_at_ms),
        "refresh_duration_ms": manifest.refresh_duration_ms,
        "compared_at": _time(manifest.compared_at_ms),
    }


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
