"""`doctor`: check a store."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from kaizen_analytics.cli.ingest import HomeOption, print_pending
from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_next, print_note
from kaizen_analytics.core.words import counted
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.ingest.disk import Kept, count_kept, find_pending
from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
from kaizen_analytics.store import Store
from kaizen_analytics.store.checks import Severity, run_checks, run_deep_checks

app = typer.Typer()


_DeepOption = Annotated[
    bool,
    typer.Option(
        "--deep", help="Also read every page and compare each session and conclusion with the digest stored with it."
    ),
]


@app.command("doctor", epilog="Example: kaizen-analytics doctor --store team.db")
def _doctor(
    *, store: StoreOption = None, home: HomeOption = None, deep: _DeepOption = False, as_json: JsonOption = False
) -> None:
    """Check a store and say what to do about each problem; compare it with the transcripts on disk.

    Exit code 1 means that numbers may be wrong; a note means that something is missing and the numbers say so.
    """
    with Store.open(locate(store).path, ours=True) as opened:  # not by `open_store`, which would fold what waits
        path = opened.path
        results = [*run_deep_checks(opened, SESSION_COLUMNS, EVENT_COLUMNS)] if deep else []
        results += run_checks(opened)
        kept = list(count_kept(load_checkpoints(opened).values()).values())
        pending = find_pending(opened, home, os.environ)
    only_stored = Kept(*(sum(getattr(one, name) for one in kept) for name in ("sessions", "events", "prompts")))
    broken = [result for result in results if not result.passed and result.severity is Severity.ERROR]
    if as_json:
        print_json(
            {
                "store": str(path),
                "passed": not broken,
                "checks": [result.to_json() for result in results],
                "only_stored": asdict(only_stored),
                "not_stored": asdict(pending),
            }
        )
    else:
        failed = [result for result in results if not result.passed]
        for result in failed:
            found = counted(result.rows, "row")
            print_note(f"{result.severity.upper()} {result.name}: {found} against '{result.purpose}'.")
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
    if broken:
        raise typer.Exit(1)
