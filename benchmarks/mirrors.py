"""All metrics of a whole store: from the mirror, from the store, and by one SQLite query for each metric."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.measure import Run, measure, measure_median, workload
from benchmarks.tables import Section, seconds, times

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (100_000, 1_000_000, 10_000_000)
_QUICK_SIZES = (20_000, 100_000)
_NAMES = {
    "sqlite_each": "sqlite3, one query per metric",
    "store_query": "one query on the store, no mirror",
    "mirror_build": "mirror: build",
    "mirror_compare": "mirror: compare every event",
    "mirror_refresh": "mirror: 1 % of the events appended",
    "polars_scan": "Polars: read the mirror's events once",
    "mirror_scan": "DuckDB: read the mirror's events once",
    "mirror_metrics": "mirror: metrics from its events",
    "mirror_rollup": "mirror: metrics from its rollup",
}


def run(folder: Path, *, quick: bool) -> Section:
    """Measure every size and return the section."""
    section = Section("All metrics of a store")
    section.add_text(
        "Synthetic stores (`benchmarks/stores.py`): about 100 events a session, 640 bytes an event. Times are inside "
        "the process, after the imports."
    )
    for size in _QUICK_SIZES if quick else SIZES:
        runs = measure_size(folder, size)
        section.add_text(f"**{size:,} events**, median of {_repeats(size)}")
        section.add_table(["", "wall", "CPU", "peak memory", "digest"], [_row(name, runs[name]) for name in _NAMES])
        _check_answers(runs)
    _add_targets(section, size, runs)
    return section


def measure_size(folder: Path, events: int) -> dict[str, Run]:
    """Return each workload's run on a store of `events` events."""
    store = folder / f"store-{events}.db"
    if not store.exists():
        staged = store.with_suffix(".part")
        staged.unlink(missing_ok=True)
        measure([sys.executable, "-m", "benchmarks.stores", "make", str(staged), str(events)])
        staged.rename(store)
    path, repeats = str(store), _repeats(events)
    runs = {"mirror_build": measure_median(workload("mirror_build", path), 1 if events > 10**6 else repeats)}
    for name in (
        "mirror_compare",
        "polars_scan",
        "mirror_scan",
        "mirror_metrics",
        "mirror_rollup",
        "store_query",
        "sqlite_each",
    ):
        runs[name] = measure_median(workload(name, path), repeats)
    measure([sys.executable, "-m", "benchmarks.stores", "append", path, str(events // 100)])
    runs["mirror_refresh"] = measure(workload("mirror_refresh", path))
    measure([sys.executable, "-m", "benchmarks.stores", "remove", path])
    return runs


def _repeats(events: int) -> int:
    return 1 if events > 10**6 else 3


def _row(name: str, run: Run) -> list[str]:
    inside = run.json
    digest = inside["digest"] or ""
    return [_NAMES[name], seconds(inside["wall_s"]), seconds(inside["cpu_s"]), f"{run.peak_mb:,.0f} MB", digest[:8]]


def _check_answers(runs: dict[str, Run]) -> None:
    digests = {run.json["digest"] for run in runs.values() if run.json["digest"]}
    if len(digests) != 1:
        raise RuntimeError(f"The answers differ: {digests}.")


def _add_targets(section: Section, events: int, runs: dict[str, Run]) -> None:
    cpu = {name: run.json["cpu_s"] for name, run in runs.items()}
    label = f"{events:,} events"
    ratio = cpu["sqlite_each"] / cpu["mirror_rollup"]
    section.add_target(
        f"all metrics of {label}, CPU against one SQLite query per metric",
        "at least 80x less",
        f"{times(ratio)} less from the rollup, {times(cpu['sqlite_each'] / cpu['mirror_metrics'])} from the mirror's "
        f"events; the build took {seconds(cpu['mirror_build'])} CPU once",
        met=ratio >= 80,
    )
    wall_s = runs["mirror_rollup"].json["wall_s"]
    section.add_target(f"metrics of {label} from the rollup", "under 0.1 s", seconds(wall_s), met=wall_s < 0.1)
    scans = cpu["mirror_metrics"] / cpu["polars_scan"]
    section.add_target(
        f"metrics of {label} from the mirror's events, CPU against one scan of their columns by Polars",
        "at most 2x",
        f"{times(scans)}; {times(cpu['mirror_metrics'] / cpu['mirror_scan'])} a scan by DuckDB, which computes them",
        met=scans <= 2,
    )
    peak_mb = max(runs[name].peak_mb for name in runs if name.startswith("mirror"))
    section.add_target(f"memory of the mirror with {label}", "within 1 GB", f"{peak_mb:,.0f} MB", met=peak_mb <= 1_000)
