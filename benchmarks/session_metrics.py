"""All metrics of every session: the query of this package, beside one SQLite query for each metric."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.measure import Run, measure, measure_median, workload
from benchmarks.tables import Section, seconds, times

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (100_000, 1_000_000)
_QUICK_SIZES = (20_000, 100_000)
_NAMES = {"sqlite_each": "sqlite3, one query per metric", "store_query": "the query of this package"}


def run(folder: Path, *, quick: bool) -> Section:
    """Measure every size and return the section."""
    section = Section("All metrics of a store")
    section.add_text(
        "Synthetic stores (`benchmarks/stores.py`): about 100 events a session, 640 bytes an event. Times are inside "
        "the process, after the imports."
    )
    for size in _QUICK_SIZES if quick else SIZES:
        runs = measure_size(folder, size)
        section.add_text(f"**{size:,} events**, median of 3")
        section.add_table(["", "wall", "CPU", "peak memory", "digest"], [_row(name, runs[name]) for name in _NAMES])
        _check_answers(runs)
    label = f"{size:,} events"
    ratio = runs["sqlite_each"].json["cpu_s"] / runs["store_query"].json["cpu_s"]
    section.add_target(
        f"all metrics of {label}, CPU against one SQLite query per metric",
        "at most as much",
        f"{times(ratio)} less",
        met=ratio >= 1,
    )
    peak_mb = runs["store_query"].peak_mb
    section.add_target(f"memory of all metrics of {label}", "within 1 GB", f"{peak_mb:,.0f} MB", met=peak_mb <= 1_000)
    return section


def measure_size(folder: Path, events: int) -> dict[str, Run]:
    """Return each workload's run on a store of `events` events."""
    store = folder / f"store-{events}.db"
    if not store.exists():
        staged = store.with_suffix(".part")
        staged.unlink(missing_ok=True)
        measure([sys.executable, "-m", "benchmarks.stores", "make", str(staged), str(events)])
        staged.rename(store)
    return {name: measure_median(workload(name, str(store)), 3) for name in _NAMES}


def _row(name: str, run: Run) -> list[str]:
    took = run.json
    figures = seconds(took["wall_s"]), seconds(took["cpu_s"]), f"{run.peak_mb:,.0f} MB"
    return [_NAMES[name], *figures, took["digest"][:8]]


def _check_answers(runs: dict[str, Run]) -> None:
    digests = {run.json["digest"] for run in runs.values()}
    if len(digests) != 1:
        raise RuntimeError(f"The answers differ: {digests}.")
