"""`init`, `backup`, `import` and `doctor`: make a store, copy it, fill it from a file of kaizen-cli, and check it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.ingest import HomeOption, print_pending
from kaizen_analytics.cli.options import StoreOption, command, locate, open_store
from kaizen_analytics.cli.output import clean, print_next, print_note
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import counted
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.ingest.disk import Kept, count_kept, find_pending
from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
from kaizen_analytics.store import Store
from kaizen_analytics.store.checks import Severity, run_checks, run_deep_checks
from kaizen_analytics.store.connection import copy_file
from kaizen_analytics.store.importing import import_kaizen
from kaizen_analytics.store.location import KAIZEN_NAME


@command("init", "init --store team.db")
def _init(*, store: StoreOption = None) -> Iterator[object]:
    """Create a store, or bring an existing one up to date."""
    path = locate(store).path
    existed = path.exists()
    Store.open(path, create=True, ours=True).close()
    yield {"store": str(path), "created": not existed}
    print(f"{'Store is up to date' if existed else 'Created a store'}: {path}")


@command("backup", "backup ~/backups/analytics-2026-11-30.db")
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


@command("import", "import ~/.kaizen/projects/home-dev-app/kaizen.db")
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


@command("doctor", "doctor --store team.db")
def _doctor(
    *,
    store: StoreOption = None,
    home: HomeOption = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Also read every page and compare each session and conclusion with the digest stored with it.",
        ),
    ] = False,
) -> Iterator[object]:
    """Check a store, and say what to do about each problem.

    It also compares the store with the transcripts on disk. Exit code 1 means that numbers may be wrong; a note means
    that something is missing and the numbers say so.
    """
    with Store.open(locate(store).path, ours=True) as opened:  # not by `open_store`, which would fold what waits
        path = opened.path
        results = [*run_deep_checks(opened, SESSION_COLUMNS, EVENT_COLUMNS)] if deep else []
        results += run_checks(opened)
        kept = list(count_kept(load_checkpoints(opened).values()).values())
        pending = find_pending(opened, home, os.environ)
    only_stored = Kept(*(sum(getattr(one, name) for one in kept) for name in ("sessions", "events", "prompts")))
    failed = [result for result in results if not result.passed]
    broken = any(result.severity is Severity.ERROR for result in failed)
    document = {
        "store": str(path),
        "passed": not broken,
        "checks": [result.to_json() for result in results],
        "only_stored": only_stored._asdict(),
        "not_stored": pending._asdict(),
    }
    yield document, int(broken)
    for result in failed:
        print_note(
            f"{result.severity.upper()} {result.name}: {counted(result.rows, 'row')} against '{result.purpose}'."
        )
        for example in result.examples:
            print_note(", ".join(f"{name} {value}" for name, value in example.items()), indent="    ")
        print_note(f"To do: {result.remedy}.", indent="    ")
    if only_stored.events:
        print_note(
            f"{only_stored.events:,} events live only in the store: {only_stored.sessions:,} sessions are in no file "
            "any more, other files lost a part."
        )
    if pending.files:
        print_pending(pending)
        print_next("kaizen-analytics ingest")
    print_note(f"{len(results) - len(failed)} of {len(results)} checks passed: {path}")
