"""`doctor`: check a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from kaizen_analytics.cli.ingest import HomeOption, print_pending
from kaizen_analytics.cli.options import StoreOption, command, locate
from kaizen_analytics.cli.output import print_next, print_note
from kaizen_analytics.core.words import counted
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.ingest.disk import Kept, count_kept, find_pending
from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
from kaizen_analytics.store import Store
from kaizen_analytics.store.checks import Severity, run_checks, run_deep_checks

app = typer.Typer()


@command(app, "doctor", "doctor --store team.db")
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
        "only_stored": asdict(only_stored),
        "not_stored": asdict(pending),
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
            f"{only_stored.events:,} events live only in the store: {only_stored.sessions:,} sessions have no file "
            "any more, other files lost a part."
        )
    if pending.files:
        print_pending(pending)
        print_next("kaizen-analytics ingest")
    print_note(f"{len(results) - len(failed)} of {len(results)} checks passed: {path}")
