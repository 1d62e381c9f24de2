"""Evidence for docs/explanation/statistics.md: coverage, false positives and power, with fixed seeds.

    python -m benchmarks.bench_stats            half an hour on two cores; writes docs/reference/statistics-evidence.md
    python -m benchmarks.bench_stats --jobs 20  only the next 20 jobs; what was done is kept in build/
    python -m benchmarks.bench_stats --quick    seconds, with few repetitions; its tables prove nothing

Every table ends with the target it has to reach; the command fails when one is missed.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special, stats

from benchmarks import before_after, designs, planning
from benchmarks.designs import Rng, Tally, say
from benchmarks.measure import ROOT
from kaizen_analytics.core.model import Delta, DesignKind, Direction
from kaizen_analytics.experiments.decide import Verdict, judge
from kaizen_analytics.stats import Design, mean_effect, median_effect, proportion_effect
from kaizen_analytics.stats.distributions import Distribution, Quantile
from kaizen_analytics.stats.medians import _MedianPair
from kaizen_analytics.stats.sequential import effective_alpha

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OUTPUT = ROOT / "docs" / "reference" / "statistics-evidence.md"
JOBS_DONE = Path("build/bench-stats.json")
"""What an earlier run found; delete it, and build/before-after.json, after a change of the statistics."""
BEGIN, END = "<!-- begin: written by benchmarks/bench_stats.py -->", "<!-- end -->"


# Distributions: each gives sessions, and the true median.


def median_distribution(sample: np.ndarray) -> Distribution:
    return Quantile.of(sample, 0.5).distribution()


@dataclass(frozen=True)
class Shape:
    """A distribution of sessions with `scale` times the values of the control."""

    name: str
    draw: Callable[[Rng, int, float], np.ndarray]
    median: Callable[[float], float]


def _mixture_median(zero_share: float) -> float:
    return math.exp(9 + special.ndtri((0.5 - zero_share) / (1 - zero_share)))


def _zero_inflated(zero_share: float) -> Shape:
    return Shape(
        f"zero-inflated {100 * zero_share:.0f} %",
        lambda rng, n, scale: scale * rng.lognormal(9, 1, n) * (rng.random(n) >= zero_share),
        lambda scale: scale * _mixture_median(zero_share),
    )


def _draw_bimodal(rng: Rng, n: int, scale: float) -> np.ndarray:
    return scale * np.exp(np.where(rng.random(n) < 0.6, 8.0, 11.0) + 0.4 * rng.standard_normal(n))


def _bimodal_median() -> float:
    def excess(log_value: float) -> float:
        return 0.6 * special.ndtr((log_value - 8) / 0.4) + 0.4 * special.ndtr((log_value - 11) / 0.4) - 0.5

    return math.exp(optimize.brentq(excess, 6, 13))


def _negative_binomial(scale: float) -> tuple[float, float]:
    mean = 20 * scale
    return 2.0, 2 / (2 + mean)


SHAPES = [
    Shape("lognormal", lambda rng, n, s: s * rng.lognormal(9, 1, n), lambda s: s * math.exp(9)),
    Shape("Lomax", lambda rng, n, s: s * rng.pareto(2, n), lambda s: s * (math.sqrt(2) - 1)),
    Shape(
        "negative binomial",
        lambda rng, n, s: rng.negative_binomial(*_negative_binomial(s), n).astype(float),
        lambda s: float(stats.nbinom.median(*_negative_binomial(s))),
    ),
    _zero_inflated(0.05),
    _zero_inflated(0.30),
    Shape("bimodal", _draw_bimodal, lambda s: s * _bimodal_median()),
]
SIZES = (10, 30, 100, 1000)


# Coverage of medians.


def count_coverage(rng: Rng, repetitions: int, shape: int, n: int) -> Tally:
    kind = SHAPES[shape]
    control_truth, treatment_truth = kind.median(1.0), kind.median(0.8)
    truth = treatment_truth - control_truth, 100 * (treatment_truth - control_truth) / control_truth
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        effect = median_effect(kind.draw(rng, n, 1.0), kind.draw(rng, n, 0.8))
        tally["runs"] += 1
        tally["difference"] += effect.difference is not None and _covers(effect.difference, truth[0])
        tally["percent"] += effect.percent is not None and _covers(effect.percent, truth[1])
        tally["missing"] += effect.percent is None or not effect.percent.bounded
    return tally


def _covers(interval, truth: float) -> bool:
    slack = 1e-9 * max(1.0, abs(truth))
    return interval.bounded and interval.low - slack <= truth <= interval.high + slack


def measure_width(rng: Rng, repetitions: int, shape: int, n: int) -> Tally:
    """Sum the widths of the exact interval and of 4,000 resamples of the same sessions."""
    kind = SHAPES[shape]
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        control, treatment = kind.draw(rng, n, 1.0), kind.draw(rng, n, 0.8)
        exact = median_effect(control, treatment).difference
        drawn = [np.median(arm[rng.integers(0, n, (4000, n))], axis=1) for arm in (control, treatment)]
        low, high = np.quantile(drawn[1] - drawn[0], (0.025, 0.975))
        tally["widths"] += 1
        tally["log_ratio"] += math.log((exact.high - exact.low + 1e-12) / (high - low + 1e-12))
    return tally


# Coverage with clusters.

CLUSTER_CASES = ("separate", "joint", "separate, unequal sizes", "joint, unequal sizes", "separate, with covariate")


def count_clusters(rng: Rng, repetitions: int, case: str, clusters: int) -> Tally:
    tally: Tally = defaultdict(float)
    for index in range(repetitions):
        control, treatment, codes, covariate = _draw_clusters(rng, case, clusters)
        median = median_effect(control, treatment, clusters=codes, covariate=covariate)
        tally["runs"] += 1
        tally["percent"] += median.percent is not None and _covers(median.percent, -20)
        if index % 5 == 0:
            naive = median_effect(control, treatment)
            tally["runs naive"] += 1
            tally["naive"] += naive.percent is not None and _covers(naive.percent, -20)
        tally["missing"] += median.percent is None or not median.percent.bounded
        if median.percent is not None:
            tally["log_width"] += math.log(median.percent.high - median.percent.low)
            tally["widths"] += 1
    return tally


def _draw_clusters(rng: Rng, case: str, clusters: int):
    """Draw log-normal sessions with variance 1, a fifth of it between clusters, about 25 sessions per cluster."""
    joint = case.startswith("joint")
    levels = rng.normal(0, math.sqrt(0.2), (2, clusters))
    if joint:
        levels[1] = levels[0]
    arms, codes, covariates = [], [], []
    for arm in (0, 1):
        sizes = np.full(clusters, 25)
        if "unequal" in case:
            sizes = np.maximum(1, rng.lognormal(2.7, 1, clusters)).astype(int)
        code = np.repeat(np.arange(clusters), sizes)
        noise = rng.normal(0, math.sqrt(0.8), code.size)
        arms.append(np.exp(9 + levels[arm][code] + noise) * (0.8 if arm else 1.0))
        codes.append(code + (0 if joint else 1000 * arm))
        covariates.append((9 + levels[arm] + rng.normal(0, 0.2, clusters))[code])
    covariate = (covariates[0], covariates[1]) if "covariate" in case else None
    return arms[0], arms[1], (codes[0], codes[1]), covariate


# Coverage of means and proportions.


def count_means(rng: Rng, repetitions: int, n: int) -> Tally:
    tally: Tally = defaultdict(float)
    truth = -0.2 * math.exp(0.5)
    for _ in range(repetitions):
        effect = mean_effect(rng.lognormal(0, 1, n), 0.8 * rng.lognormal(0, 1, n))
        tally["runs"] += 1
        tally["difference"] += _covers(effect.difference, truth)
        tally["percent"] += effect.percent is not None and _covers(effect.percent, -20)
        tally["missing"] += effect.percent is None
    return tally


def count_shares(rng: Rng, repetitions: int, n: int, share: float) -> Tally:
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        effect = proportion_effect(rng.random(n) < share, rng.random(n) < 0.8 * share)
        tally["runs"] += 1
        tally["difference"] += _covers(effect.difference, -0.2 * share)
        tally["percent"] += effect.percent is not None and _covers(effect.percent, -20)
        tally["missing"] += effect.percent is None
    return tally


# Looks.

FIRST, LAST = 30, 500
LOOK_SHAPES: dict[str, Callable[[Rng, int], np.ndarray]] = {
    "lognormal": lambda rng, n: rng.lognormal(9, 1, n),
    "tied counts": lambda rng, n: rng.poisson(3, n).astype(float),
}


def count_false_positives(rng: Rng, repetitions: int, shape: str, growing: str) -> Tally:
    """Look after every session from 30 to 500 per arm, with no true effect, and count experiments with any finding."""
    tally: Tally = defaultdict(float)
    designs = {kind: Design(kind=kind, planned_n=LAST) for kind in DesignKind}
    looks = [(LAST if growing == "treatment" else n, n) for n in range(FIRST, LAST + 1)]
    for index in range(repetitions):
        control, treatment = LOOK_SHAPES[shape](rng, LAST), LOOK_SHAPES[shape](rng, LAST)
        # A tenth of the repetitions is enough for the slow column, which is far from its target.
        wanted = {kind: design for kind, design in designs.items() if index % 10 == 0 or kind is not DesignKind.FIXED}
        for kind, found in _find(control, treatment, looks, wanted).items():
            tally[f"runs {kind}"] += 1
            tally[str(kind)] += found
    return tally


def _find(control, treatment, looks, designs) -> dict[DesignKind, bool]:
    """Return which designs find an effect at any look; FIXED reads a plain 95 % interval each time."""
    alphas = {kind: [_level(design, *look) for look in looks] for kind, design in designs.items()}
    possible = _least_p_values(control, treatment, looks)
    found = dict.fromkeys(designs, False)
    for index, (n_c, n_t) in enumerate(looks):
        open_kinds = [kind for kind, levels in alphas.items() if not found[kind] and possible[index] <= levels[index]]
        if not open_kinds:
            continue
        pair = _MedianPair(median_distribution(control[:n_c]), median_distribution(treatment[:n_t]))
        p_value = 2 * min(pair.difference_tails())
        for kind in open_kinds:
            found[kind] = p_value <= alphas[kind][index]
    return found


@functools.cache
def _level(design: Design, n_control: int, n_treatment: int) -> float:
    arms = n_control, n_treatment
    return effective_alpha(design, 0.05, design.information(arms, arms))


def _least_p_values(control, treatment, looks) -> np.ndarray:
    """Return a lower limit of each look's p value, which spares most of the exact laws.

    For any m, P(difference <= 0) >= P(treatment <= m) P(control >= m), and the same the other way round.
    """
    middle = float(np.median(np.concatenate((control, treatment))))
    n_c, n_t = np.array(looks).T
    tails = {}
    for name, arm, n in (("c", control, n_c), ("t", treatment, n_t)):
        tails[name, "low"] = _median_tail(np.cumsum(arm <= middle)[n - 1], n)
        tails[name, "high"] = _median_tail(np.cumsum(arm >= middle)[n - 1], n)
    fall, rise = tails["t", "low"] * tails["c", "high"], tails["t", "high"] * tails["c", "low"]
    return 2 * np.minimum(fall, rise) * (1 - 1e-9)


def _median_tail(count, n):
    """Return a lower limit of the chance that a bootstrap median is among `count` of n sessions at one end."""
    rank = n // 2 + 1
    return np.where(count > 0, special.betainc(rank, n - rank + 1, np.maximum(count, 1e-300) / n), 0.0)


def count_clustered_false_positives(rng: Rng, repetitions: int, clusters: int, expected: float) -> Tally:
    """Look 21 times, from 5 to 25 sessions per cluster, with a fifth of the log variance between clusters.

    The design effect grows to 5.8; `expected` is what the plan took it for.
    """
    tally: Tally = defaultdict(float)
    design = Design(kind=DesignKind.PLANNED, planned_n=25 * clusters, design_effect=expected)
    for _ in range(repetitions):
        levels = rng.normal(0, math.sqrt(0.2), (2, 1, clusters))
        arms = np.exp(9 + levels + rng.normal(0, math.sqrt(0.8), (2, 25, clusters)))
        tally["runs"] += 1
        found = {"planned": False, "fixed": False}
        for size in range(5, 26):
            codes = np.tile(np.arange(clusters), size)
            control, treatment = arms[0, :size].ravel(), arms[1, :size].ravel()
            effect = median_effect(control, treatment, clusters=(codes, codes + clusters), design=design)
            found["planned"] |= _excludes_zero(effect.difference)
            effect = median_effect(control, treatment, clusters=(codes, codes + clusters))
            found["fixed"] |= _excludes_zero(effect.difference)
        for kind, result in found.items():
            tally[kind] += result
    return tally


def _excludes_zero(interval) -> bool:
    return interval.low > 0 or interval.high < 0


# Wrong and right verdicts.

MET_CASES = {
    "lognormal, truth -18 %, target -20 %": (
        lambda r, n: r.lognormal(0, 1, n),
        lambda r, n: 0.82 * r.lognormal(0, 1, n),
        -20,
    ),
    "lognormal, truth 0 %, target -5 %": (lambda r, n: r.lognormal(0, 1, n), lambda r, n: r.lognormal(0, 1, n), -5),
    "lognormal, truth 0 %, target 0 %": (lambda r, n: r.lognormal(0, 1, n), lambda r, n: r.lognormal(0, 1, n), 0),
    "Poisson(3), truth 0 %, target 0 %": (lambda r, n: r.poisson(3, n), lambda r, n: r.poisson(3, n), 0),
    "Poisson(3.67), median on an edge, target 0 %": (
        lambda r, n: r.poisson(3.6721, n),
        lambda r, n: r.poisson(3.6721, n),
        0,
    ),
    "Poisson(3) to Poisson(3), target -10 %": (lambda r, n: r.poisson(3, n), lambda r, n: r.poisson(3, n), -10),
    "0 to 3 loops, truth 0 %, target 0 %": (lambda r, n: 1 + r.poisson(0.7, n), lambda r, n: 1 + r.poisson(0.7, n), 0),
}


def count_wrong_met(rng: Rng, repetitions: int, case: str, n: int) -> Tally:
    draw_control, draw_treatment, target = MET_CASES[case]
    criterion = Delta(direction=Direction.DECREASE, target_pct=target)
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        effect = median_effect(draw_control(rng, n), draw_treatment(rng, n))
        tally["runs"] += 1
        tally["met"] += judge(effect, criterion, better=Direction.DECREASE).verdict is Verdict.MET
    return tally


def count_power(rng: Rng, repetitions: int, true_pct: int) -> Tally:
    """Count findings with 300 sessions per arm: fixed at the end, the others at every tenth session from 30 on."""
    tally: Tally = defaultdict(float)
    designs = {kind: Design(kind=kind, planned_n=300) for kind in DesignKind if kind is not DesignKind.FIXED}
    looks = [(n, n) for n in range(30, 301, 10)]
    fixed = {DesignKind.FIXED: Design()}
    for _ in range(repetitions):
        control, treatment = rng.lognormal(9, 1, 300), (1 + true_pct / 100) * rng.lognormal(9, 1, 300)
        tally["runs"] += 1
        found = _find(control, treatment, looks, designs) | _find(control, treatment, [(300, 300)], fixed)
        for kind, result in found.items():
            tally[str(kind)] += result
    return tally


# Running jobs on all cores.


@dataclass(frozen=True)
class Job:
    table: str
    row: tuple
    seed: int
    repetitions: int
    count: Callable[..., Tally] = field(repr=False)

    @property
    def key(self) -> str:
        """The job as text."""
        return f"{self.table}|{self.row}|{self.seed}|{self.repetitions}"


def run_job(job: Job) -> tuple[Job, Tally]:
    return job, dict(job.count(np.random.default_rng(job.seed), job.repetitions, *job.row))


def plan_jobs(*, quick: bool) -> list[Job]:
    jobs: list[Job] = []

    def add(table: str, count, rows: Iterable[tuple], repetitions, parts: int = 2) -> None:
        for row in rows:
            total = repetitions(row) if callable(repetitions) else repetitions
            share = 1 if quick else math.ceil(total / parts)
            jobs.extend(Job(table, row, 1000 * len(jobs) + part, share, count) for part in range(1 if quick else parts))

    sizes = SIZES[:2] if quick else SIZES
    shapes = [(shape, n) for shape in range(len(SHAPES)) for n in sizes]
    add("coverage", count_coverage, shapes, lambda row: 800 if row[1] == 1000 else 1600, 4)
    add("width", measure_width, shapes, lambda row: 20 if row[1] == 1000 else 60)
    add("clusters", count_clusters, [(case, g) for case in CLUSTER_CASES for g in (4, 8, 20, 60)], 400)
    add("clustered peeking", count_clustered_false_positives, [(8, 5.8), (20, 5.8), (20, 11.6)], 400, 4)
    add("power", count_power, [(-20,), (-30,)], 400, 4)
    add("means", count_means, [(n,) for n in SIZES], 2000)
    add("shares", count_shares, [(n, share) for share in (0.1, 0.5, 0.9) for n in SIZES], 2000)
    add("met", count_wrong_met, [(case, n) for case in MET_CASES for n in (30, 100, 301)], 400)
    for table, count, rows, repetitions in (*designs.JOBS, *planning.JOBS):
        add(table, count, rows, 2 if quick else repetitions)
    add("peeking", count_false_positives, [(s, g) for s in LOOK_SHAPES for g in ("both arms", "treatment")], 2000, 8)
    return jobs


def run_jobs(jobs: list[Job], path: Path | None, at_most: int | None = None) -> dict[str, dict[tuple, Tally]] | None:
    """Run the jobs that the file lacks and add all of them up; None while some are left, after `at_most` of them."""
    known = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
    left = [job for job in jobs if job.key not in known]
    # a forked process cannot use Polars once its parent has
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        for done, (job, tally) in enumerate(pool.imap_unordered(run_job, left[:at_most]), start=1):
            print(f"{done} of {len(left)} jobs: {job.key}", file=sys.stderr, flush=True)
            known[job.key] = tally
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(known, indent=1), encoding="utf-8")
    if any(job.key not in known for job in jobs):
        return None
    totals: dict[str, dict[tuple, Tally]] = defaultdict(dict)
    for job in jobs:
        total = totals[job.table].setdefault(job.row, defaultdict(float))
        for key, value in known[job.key].items():
            total[key] += value
    return totals


# Speed.


# Tables.


@dataclass
class Report:
    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def table(self, title: str, text: str, head: list[str], rows: list[list[str]]) -> None:
        self.lines += [f"## {title}", "", text, "", _row(head), _row(["---"] * len(head))]
        self.lines += [_row(row) for row in rows] + [""]

    def require(self, met: bool, target: str) -> str:  # noqa: FBT001 - it is the subject of the call
        if not met:
            self.missed.append(target)
        return "yes" if met else "**no**"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _share(tally: Tally, key: str) -> float:
    return designs.share_of(tally, key)[0]


def write_coverage(report: Report, totals) -> None:
    rows = []
    for (shape, n), tally in totals["coverage"].items():
        name = SHAPES[shape].name
        widths = totals["width"][shape, n]
        ratio = math.exp(widths["log_ratio"] / widths["widths"])
        difference, percent = _share(tally, "difference"), _share(tally, "percent")
        undefined = name.endswith("30 %")
        met = difference >= 93.5 and (undefined or percent >= 93.5) and ratio <= 1.1
        rows.append(
            [
                name,
                f"{n:,}",
                say(tally, "difference"),
                say(tally, "percent"),
                say(tally, "missing"),
                f"{ratio:.2f}",
                report.require(met, f"coverage of {name}, n = {n}"),
            ],
        )
    report.table(
        "Coverage of 95 % intervals of medians",
        "The treatment has 0.8 times the control's values. A missing percent change counts as not "
        "covered. Target: 93.5 to "
        "100 %, and a width of at most 1.1 times that of 4,000 resamples of the same sessions. With 30 "
        "% zeros the control "
        "median of few sessions may be zero; a percent change then does not exist, so there the target holds for the "
        "difference, and the share without a percent change is printed.",
        ["sessions", "n per arm", "difference", "percent change", "no percent change", "width ratio", "target met"],
        rows,
    )


def write_clusters(report: Report, totals) -> None:
    rows = []
    for (case, clusters), tally in totals["clusters"].items():
        given = {**tally, "runs percent": tally["runs"] - tally["missing"]}
        width = math.exp(tally["log_width"] / max(tally["widths"], 1))
        met = designs.is_at_least(given, "percent", 93) and designs.is_at_most(given, "percent", 99)
        rows.append(
            [
                case,
                str(clusters),
                say(given, "percent"),
                f"{_share(tally, 'missing'):.1f}",
                say(tally, "naive"),
                f"{width:.0f} points",
                report.require(met, f"clusters {case}, {clusters}"),
            ],
        )
    report.table(
        "Coverage with clusters",
        "Lognormal sessions, a fifth of the log variance between clusters, about 25 sessions per cluster, truth -20 %. "
        "Joint clusters hold sessions of both arms. Unequal sizes are lognormal with sigma 1. Coverage is that of the "
        "intervals that are given; where one cluster is nearly the whole arm there is none. Target: 93 to 99 %, within "
        "the Monte Carlo error.",
        ["clusters", "per arm", "percent change", "none given", "ignoring clusters", "typical width", "target met"],
        rows,
    )


def write_others(report: Report, totals) -> None:
    rows = []
    for (n,), tally in totals["means"].items():
        rows.append(["mean, lognormal", f"{n:,}", *_other_cells(tally)])
    for (n, share), tally in totals["shares"].items():
        rows.append([f"share {share}", f"{n:,}", *_other_cells(tally)])
    report.table(
        "Coverage of means and proportions",
        "The treatment has 0.8 times the control's mean or share. Means: Welch and Fieller; shares: "
        "Newcombe and score. No "
        "target: these are the known properties of the methods, and a missing percent change counts as not covered.",
        ["sessions", "n per arm", "difference", "percent change", "no percent change"],
        rows,
    )


def _other_cells(tally: Tally) -> list[str]:
    return [say(tally, key) for key in ("difference", "percent", "missing")]


def write_peeking(report: Report, totals) -> None:
    rows = []
    kinds = (DesignKind.PLANNED, DesignKind.OPEN)
    for (shape, growing), tally in totals["peeking"].items():
        shares = {kind: _share(tally, str(kind)) for kind in DesignKind}
        met = report.require(all(shares[kind] <= 5 for kind in kinds), f"false positives, {shape}, {growing}")
        grows = "both arms grow" if growing == "both arms" else "control complete, treatment grows"
        rows.append([shape, grows, *(say(tally, str(kind)) for kind in (DesignKind.FIXED, *kinds)), met])
    for (clusters, expected), tally in totals["clustered peeking"].items():
        planned = _share(tally, "planned")
        met = report.require(planned <= 5, f"false positives, {clusters} clusters, planned for {expected}")
        case = [f"{clusters} clusters per arm", f"both arms grow, 21 looks; design effect 5.8, expected {expected}"]
        rows.append([*case, say(tally, "fixed"), say(tally, "planned"), "not run", met])
    report.table(
        "False positives when looking after every session",
        "No true effect; an analysis after every session from 30 to 500 per arm. The first column "
        "reads a plain 95 % interval each time. Target: at most 5 % for every design.",
        ["sessions", "arms", "plain 95 %", "planned", "open", "target met"],
        rows,
    )


def write_met(report: Report, totals) -> None:
    rows = []
    for (case, n), tally in totals["met"].items():
        share = _share(tally, "met")
        rows.append([case, f"{n:,}", say(tally, "met"), report.require(share <= 5, f"wrong met, {case}, n = {n}")])
    report.table(
        "Wrong verdicts of a reached target",
        "The true effect falls short of the target. Target: at most 5 % say `met`.",
        ["case", "n per arm", "`met`", "target met"],
        rows,
    )


def write_power(report: Report, totals) -> None:
    rows = []
    for (true_pct,), tally in totals["power"].items():
        shares = {kind: _share(tally, str(kind)) for kind in DesignKind}
        kept = shares[DesignKind.PLANNED] / max(shares[DesignKind.FIXED], 1e-9)
        met = report.require(kept >= 0.8, "power of the planned design") if true_pct == -30 else "not demanded"
        rows.append([f"{true_pct} %", *(say(tally, str(kind)) for kind in DesignKind), f"{100 * kept:.0f} %", met])
    report.table(
        "Power",
        "Lognormal sessions, sigma 1, 300 per arm. The fixed design looks once at the end, the others "
        "at every tenth session "
        "from 30 on. Target: at -30 % the planned design keeps at least 80 % of the fixed one's power.",
        ["true change", "fixed", "planned", "open", "planned / fixed", "target met"],
        rows,
    )


def draw_histories(*, quick: bool) -> dict[str, dict[str, int]]:
    """Return how often a difference before and after a change is claimed; a run that was stopped is continued."""

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if quick:
        return before_after.run(2, None, cells=before_after.NULL_CELLS[:2], say=say)
    return before_after.run(400, before_after.OUTPUT, say=say)


def render(text: str, tables: list[str]) -> str:
    body = "\n".join([BEGIN, "", *tables, END])
    if BEGIN not in text:
        return f"{text.rstrip()}\n\n{body}\n" if text.strip() else f"{body}\n"
    before, rest = text.split(BEGIN, 1)
    return before + body + rest.split(END, 1)[1]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions, no targets; proves nothing")
    parser.add_argument("--output", type=Path, default=None, help="file to rewrite between its markers")
    parser.add_argument("--jobs", type=int, default=None, help="run at most so many jobs now; the next run goes on")
    options = parser.parse_args(arguments)
    output = options.output or (None if options.quick else OUTPUT)
    start = time.perf_counter()
    report = Report()
    totals = run_jobs(plan_jobs(quick=options.quick), None if options.quick else JOBS_DONE, options.jobs)
    if totals is None:
        print("Some jobs are left: run it again.", file=sys.stderr)
        return 0
    before_after.write_before_after(report, draw_histories(quick=options.quick))
    designs.write_designs(report, totals)
    planning.write_planning(report, totals)
    for write in (write_coverage, write_clusters, write_others, write_peeking, write_met, write_power):
        write(report, totals)
    print("\n".join(report.lines))
    if output is not None:
        text = output.read_text(encoding="utf-8") if output.exists() else ""
        output.write_text(render(text, report.lines), encoding="utf-8")
    print(f"\n{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if report.missed and not options.quick:
        print("Missed targets:", *report.missed, sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
