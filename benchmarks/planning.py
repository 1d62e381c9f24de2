"""Whether experiments that `exp power` plans come out as it promises.

Every history is planned from on its own. What is promised is compared with what experiments of that size find: with
sessions of the same history, and with new ones of its kind. Real sessions are read where KAIZEN_TEST_TRANSCRIPTS names
a folder of transcripts; a population of new ones does not exist for them.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.designs import Rng, Tally, Totals, share_of
from benchmarks.worlds import WORLDS, draw_world
from kaizen_analytics.core.model import Delta, DesignKind, Direction, Metric
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments import power
from kaizen_analytics.experiments.decide import Claim, judge_claim
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.power import _Histories, _Rule, compute_power
from kaizen_analytics.stats import Design
from kaizen_analytics.stats.before_after import compare_before_after
from kaizen_analytics.stats.medians import median_reaches

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.before_after import Report

_NOW_MS = 8_640_000_000
_TOKENS = Metric.TOKENS_PER_SESSION
_FALL = -30.0
_RULE = _Rule(metric=_TOKENS, criterion=Delta(Direction.DECREASE, 0.0), plan=Plan(), guardrails=())
_EXPERIMENTS, _REAL_EXPERIMENTS = 100, 1_000
"""Experiments of the planned size for each history, of its own sessions and of new ones."""


def _draw_two_peaks(rng: Rng, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.6, rng.lognormal(8, 0.4, n), rng.lognormal(10.5, 0.4, n))


SHAPES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "lognormal": lambda rng, n: rng.lognormal(9, 1.05, n),
    "two peaks": _draw_two_peaks,
    "two peaks, many sessions": _draw_two_peaks,
    "real sessions": lambda rng, n: rng.choice(_read_real(), n),
}
_SIZES = {"two peaks, many sessions": 5_000}
_DEFAULT_SIZE = 1_000
DATED = [
    (world, per_day)
    for world in ("calm", "trend -2 % a week", "weekly mix 0.2", "days 0.3", "tasks", "two peaks")
    for per_day in (20, 50)
]


@cache
def _read_real() -> np.ndarray:
    """Return the new tokens of the real sessions; none where there are no transcripts."""
    home = os.environ.get("KAIZEN_TEST_TRANSCRIPTS")
    if home is None:
        return np.empty(0)
    from kaizen_analytics.ingest.pipeline import run_ingest
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.frames import session_metrics

    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "k.db", create=True) as store:
        run_ingest(store, [Path(home) / "home"], environment={})
        values = session_metrics(store)[_TOKENS.column].drop_nulls().to_numpy()
    return values[values > 0]


def count_planned(rng: Rng, repetitions: int, shape: str) -> Tally:
    """Plan arms drawn by lot for 80 % from histories of one shape, and run the experiments."""
    tally: Tally = defaultdict(float)
    real = shape == "real sessions"
    if real and not _read_real().size:
        return tally
    power.EFFECTS_PCT = (abs(_FALL),)
    for _ in range(repetitions):
        past = _read_real() if real else SHAPES[shape](rng, _SIZES.get(shape, _DEFAULT_SIZE))
        frame = pl.DataFrame({_TOKENS.column: past, "started_at_ms": np.full(past.size, _NOW_MS)})
        [row] = compute_power(frame, _TOKENS, now_ms=_NOW_MS, days=1).rows
        if row.n_per_arm is None or row.n_low is None or row.n_high is None:
            continue
        runs = _REAL_EXPERIMENTS if real else _EXPERIMENTS
        same = _find(lambda n, of=past: rng.choice(of, n), row.n_per_arm, runs)
        new = same if real else _find(lambda n: SHAPES[shape](rng, n), row.n_per_arm, runs)
        for name, found in (("same", same), ("new", new)):
            tally[name] += found
            tally[f"{name} squared"] += found**2
        tally["inside"] += row.n_low <= new <= row.n_high
        tally["runs"] += 1
        if real:  # there is one history, and experiments from it differ by chance alone
            break
    return tally


def _find(draw: Callable[[int], np.ndarray], n: int, runs: int) -> float:
    design = Design(kind=DesignKind.PLANNED, planned_n=n, is_last=True)
    arms = ((draw(n), (1 + _FALL / 100) * draw(n)) for _ in range(runs))
    return sum(median_reaches(*pair, 0.0, design=design) for pair in arms) / runs


def count_dated(rng: Rng, repetitions: int, world: str, per_day: int) -> Tally:
    """Compare what is promised from 8 weeks of history with what is claimed in that world, 28 days after a change."""
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        line = draw_world(rng, WORLDS[world], history=56, after=28, per_day=per_day, effect=_FALL / 100)
        found = compare_before_after(line, by_median=True)
        claimed = judge_claim(found) is Claim.HOLDS and found.effect is not None and found.effect.log_ratio < 0
        tally["runs"] += 1
        tally["claimed"] += claimed
    for _ in range(max(repetitions // 10, 2)):
        past = draw_world(rng, WORLDS[world], history=56, after=1, per_day=per_day)
        past = past.where(past.days < 0)
        starts = _NOW_MS + past.days * DAY_MS + np.arange(past.days.size) % 1000
        frame = pl.DataFrame({_TOKENS.column: past.values, "started_at_ms": starts})
        promised = _Histories.of(_RULE, frame, _NOW_MS, None, after_days=28, power=0.8).probability(_FALL, 28, 20)
        tally["histories"] += 1
        tally["promised"] += promised
        tally["promised squared"] += promised**2
    return tally


JOBS = [
    ("planned", count_planned, [(shape,) for shape in SHAPES], 20),
    ("planned dated", count_dated, DATED, 400),
]
"""Name, count function, rows and repetitions of each table; `bench_stats` runs them."""


def write_planning(report: Report, totals: Totals) -> None:
    """Add the tables of what is promised and what comes out."""
    rows = []
    for (shape,), tally in totals["planned"].items():
        if not tally.get("runs"):
            rows.append([shape, "not run", "not run", "not run", "not run"])
            continue
        same, new = (_mean(tally, name, tally["runs"]) for name in ("same", "new"))
        met = report.require(abs(same[0] - 80) <= 3 + 1.96 * same[1], f"promised power, {shape}")
        spread = "the same" if shape == "real sessions" else f"{new[0]:.1f} ± {new[1]:.1f} (sd {new[2]:.0f})"
        inside = "\u2013" if shape == "real sessions" else f"{100 * tally['inside'] / tally['runs']:.0f} %"
        rows.append([shape, f"{same[0]:.1f} ± {same[1]:.1f}", spread, inside, met])
    report.table(
        "What exp power promises for arms drawn by lot",
        "Promised are 80 % for a true fall of 30 %. Found is the share of right decisions at the planned size, mean "
        "over histories of 1,000 sessions (many: 5,000) with one standard error: with sessions of the same history, "
        f"and with new sessions of its kind. Each history has {_EXPERIMENTS} experiments, so the standard deviation "
        "over histories includes 4 points of Monte Carlo error. The last but one column is how often the printed range "
        "(10 to 90 %) holds what new sessions find. Target: 77 to 83 % from the same history, within the Monte Carlo "
        "error.",
        ["history", "found, same history", "found, new sessions", "in the range", "target met"],
        rows,
    )
    _write_dated(report, totals["planned dated"])


def _write_dated(report: Report, found: dict[tuple, Tally]) -> None:
    rows, gaps, errors = [], [], []
    for (world, per_day), tally in found.items():
        truth, error = share_of(tally, "claimed")
        mean, mean_error, spread = _mean(tally, "promised", tally["histories"])
        gaps.append(mean - truth)
        errors.append(math.hypot(error, mean_error))
        gap = f"{mean - truth:+.1f} ± {errors[-1]:.1f}"
        rows.append(
            [world, str(per_day), f"{truth:.1f} ± {error:.1f}", f"{mean:.1f} ± {mean_error:.1f}", f"{spread:.0f}", gap]
        )
    average, error = float(np.mean(gaps)), math.sqrt(sum(e**2 for e in errors)) / len(errors)
    met = report.require(abs(average) <= 5, "promised power before and after a change")
    rows.append(["all together", "", "", "", "", f"{average:+.1f} ± {error:.1f}, target met: {met}"])
    report.table(
        "What exp power promises before and after a change",
        "A true fall of 30 %, 28 days after the change. Claimed is the share in new worlds; promised is the mean over "
        "histories of 8 weeks (20 experiments each), beside its standard deviation over histories. Target: at most 5 "
        "points on average. Eight weeks hardly show how far weeks wander, so calm worlds are promised too little and "
        "worlds with a weekly mix too much.",
        ["world", "sessions a day", "claimed", "promised", "sd over histories", "promised less claimed"],
        rows,
    )


def _mean(tally: Tally, name: str, n: float) -> tuple[float, float, float]:
    """Return a mean in percent, its standard error and the standard deviation."""
    mean = tally[name] / n
    spread = math.sqrt(max(tally[f"{name} squared"] / n - mean**2, 0.0))
    own = math.sqrt(mean * (1 - mean) / (_REAL_EXPERIMENTS * n))  # all there is where every history is the same
    return 100 * mean, 100 * max(spread / math.sqrt(n), own), 100 * spread
