"""`metrics`: what the sessions of a store cost and how they went."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.filters import Filter
from kaizen_analytics.cli.lake import LakeOptions
from kaizen_analytics.cli.options import StoreOption, command, open_store
from kaizen_analytics.cli.output import NO_SESSION, is_quiet, print_note, print_table, print_unreliable
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.metrics import OF_SESSIONS, OUTCOMES, REGISTRY
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.exports.files import write_table
from kaizen_analytics.exports.lake.reading import name_workspace, read_metrics
from kaizen_analytics.store.frames import session_metrics

if TYPE_CHECKING:
    import polars as pl


@command(
    "metrics",
    "metrics --since 7d",
    "metrics --agent codex --json",
    "metrics --since 2026-10-01 --out october.parquet",
    "metrics --lake /mnt/team/lake --engine spark --spark-remote sc://127.0.0.1:50051",
)
def _metrics(
    *,
    store: StoreOption = None,
    filters: Filter,
    apart: Annotated[bool, typer.Option("--apart", help="Count sub-agents as sessions of their own.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row per session to a .parquet, .csv or .json file.")
    ] = None,
    source: LakeOptions,
) -> Iterator[object]:
    """Compute every metric of every session.

    Sub-agents count with the session that started them. A metric that a transcript cannot tell is missing, never 0.
    """
    chosen = filters.choose(read_clock())
    source.check(store)
    if source.lake is None:
        with open_store(store, read_only=True) as opened:
            frame = session_metrics(opened, rollup=not apart)
    else:
        key = source.read_key()
        frame = read_metrics(source.lake, rollup=not apart, engine=source.choose_engine(), key=key)
        if chosen.workspace is not None and key is None:
            raise ConfigError("A lake holds pseudonyms of workspaces; --workspace needs --lake-key FILE to find one.")
        if chosen.workspace is not None and key is not None:
            chosen = replace(chosen, workspace=name_workspace(chosen.workspace, key))
    found = chosen.select(frame)
    if out is not None:
        write_table(found, out)
    yield {"out": None if out is None else str(out), "sessions": found.to_dicts()}
    if out is not None:
        print(f"Wrote {found.height:,} sessions to {out}")
    else:
        _print_summary(found)


def _print_summary(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        print_note(NO_SESSION)
        return
    rows = []
    for metric in OF_SESSIONS:
        definition = REGISTRY[metric]
        values = frame[metric.column].drop_nulls()
        known, missing = values.len(), frame.height - values.len()
        if not known and metric in OUTCOMES:
            continue
        rows.append((definition.label, definition.unit, known, missing, values.median(), values.mean()))
    print(f"{frame.height:,} sessions")
    print_table(["metric", "unit", "sessions", "missing", "median", "mean"], rows, droppable=("unit", "missing"))
    unreliable, responses = int(frame["unreliable_responses"].sum()), int(frame["responses"].sum())
    print_unreliable(unreliable, responses)
    if not is_quiet() and not any(frame[metric.column].count() for metric in OUTCOMES):
        print_note("'kaizen-analytics outcomes' finds out more: checks, commits, and what became of them.")
