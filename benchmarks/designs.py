"""Designs beside the worlds: arms drawn by lot, split checks, the last look, guardrails, clusters, means, many metrics.

Each `count_` function adds up simulated experiments; `write_designs` turns the sums into tables.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.before_after import compute_share
from benchmarks.worlds import WORLDS, draw_tasks
from kaizen_analytics.core.model import DesignKind, Direction, GuardrailSpec, Metric
from kaizen_analytics.experiments.decide import GuardrailStatus, judge_guardrails
from kaizen_analytics.stats import (
    Design,
    adjust_benjamini_hochberg,
    check_sample_ratio,
    mean_effect,
    median_effect,
    proportion_effect,
)

if TYPE_CHECKING:
    from benchmarks.before_after import Report

Rng = np.random.Generator
Tally = dict[str, float]

UNITS = ("session", "branch", "day")
_POWER = {"session": 98.0, "branch": 90.0}
"""Percent of true falls of 20 % that are to be found, by what is drawn; days are too few for a promise."""


def share_of(tally: Tally, key: str) -> tuple[float, float]:
    """Return a share in percent with its Monte Carlo standard error (`before_after.compute_share`)."""
    return compute_share(tally.get(key, 0.0), tally.get(f"runs {key}") or tally["runs"])


def say(tally: Tally, key: str) -> str:
    """Return a share in percent with its Monte Carlo standard error, as text."""
    share, error = share_of(tally, key)
    return f"{share:.1f} ± {error:.1f}"


def is_at_most(tally: Tally, key: str, limit: float) -> bool:
    """Return whether a share can be at most `limit` percent, given its 95 % Monte Carlo interval."""
    share, error = share_of(tally, key)
    return share - 1.96 * error <= limit


def is_at_least(tally: Tally, key: str, limit: float) -> bool:
    """Return whether a share can be at least `limit` percent, given its 95 % Monte Carlo interval."""
    share, error = share_of(tally, key)
    return share + 1.96 * error >= limit


def count_randomised(rng: Rng, repetitions: int, world: str, unit: str) -> Tally:
    """Draw arms by lot in a world of 56 days with 50 sessions a day, without and with a fall of 20 %."""
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        line, tasks = draw_tasks(rng, WORLDS[world], history=28, after=28, per_day=50)
        codes = {"session": np.arange(line.days.size), "branch": tasks, "day": line.days + 28}[unit]
        treated = (rng.random(codes.max() + 1) < 0.5)[codes]
        clusters = None if unit == "session" else (codes[~treated], codes[treated])
        tally["runs"] += 1
        for name, factor in (("false", 1.0), ("found", 0.8)):
            effect = median_effect(line.values[~treated], factor * line.values[treated], clusters=clusters)
            tally[name] += effect.difference is not None and effect.difference.high < 0
            tally[name] += name == "false" and effect.difference is not None and effect.difference.low > 0
    return tally


def count_splits(rng: Rng, repetitions: int, users: int, share: float) -> Tally:
    """Draw a coin per user, with lognormal numbers of sessions, and check the split of users and of sessions."""
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        sizes, treated = 1 + rng.lognormal(2.5, 1, users).astype(int), rng.random(users) < share
        tally["runs"] += 1
        tally["users"] += check_sample_ratio(int((~treated).sum()), int(treated.sum())).p_value < 0.01
        tally["sessions"] += check_sample_ratio(int(sizes[~treated].sum()), int(sizes[treated].sum())).p_value < 0.01
    return tally


def count_last_look(rng: Rng, repetitions: int, came: int, factor: float) -> Tally:
    """Plan 250 sessions per arm, look at every 25, and reach the end of the window with fewer."""
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        control, treatment = rng.lognormal(9, 1.05, came), factor * rng.lognormal(9, 1.05, came)
        found = {"spends the rest": False, "spends as before": False}
        for n in range(50, came + 1, 25):
            for name in found:
                last = n == came and name == "spends the rest"
                design = Design(kind=DesignKind.PLANNED, planned_n=250, is_last=last)
                seen = median_effect(control[:n], treatment[:n], design=design).difference
                found[name] |= seen is not None and not seen.low <= 0 <= seen.high
        tally["runs"] += 1
        for name, result in found.items():
            tally[name] += result
    return tally


def count_guardrails(rng: Rng, repetitions: int, failing: float, n: int) -> Tally:
    """Judge the share of prompts without a failure, tolerance 5 %: unchanged, and exactly 5 % lower."""
    tally: Tally = defaultdict(float)
    spec = GuardrailSpec(Metric.SUCCESS_RATE_BY_PROMPT, Direction.DECREASE, 5.0)
    worse = (1 - 0.95 * (1 - 0.6 * failing)) / 0.6

    def arm(share: float) -> tuple[np.ndarray, np.ndarray]:
        prompts = 1 + rng.poisson(4, n)
        return prompts - rng.binomial(prompts, np.where(rng.random(n) < share, 0.6, 0.0)), prompts

    for _ in range(repetitions):
        control, tally["runs"] = arm(failing), tally["runs"] + 1
        for name, share in (("unchanged", failing), ("at the limit", worse)):
            treatment = arm(share)
            effect = proportion_effect(control[0], treatment[0], denominators=(control[1], treatment[1]))
            [(status, _)] = judge_guardrails([(spec, effect)])
            tally[f"{name} passed"] += status is GuardrailStatus.PASSED
            tally[f"{name} violated"] += status is GuardrailStatus.VIOLATED
    return tally


UNEQUAL = {
    "one of 10 clusters holds 90 %": [180, *[2] * 9, 4],
    "20 clusters of 200 and 5 in turn": [200, 5] * 10,
    "one of 20 clusters holds half": [190, *[10] * 19],
}


def count_unequal(rng: Rng, repetitions: int, case: str) -> Tally:
    """Cover a fall of 20 % with very unequal clusters, a fifth of the log variance between them."""
    tally: Tally = defaultdict(float)
    sizes = np.array(UNEQUAL[case])
    codes = np.repeat(np.arange(sizes.size), sizes)
    for _ in range(repetitions):
        levels = rng.normal(0, math.sqrt(0.2), (2, sizes.size))
        logs = 9 + levels[:, codes] + rng.normal(0, math.sqrt(0.8), (2, codes.size))
        arms = np.exp(logs) * np.array([[1.0], [0.8]])
        found = median_effect(arms[0], arms[1], clusters=(codes, codes + sizes.size)).percent
        tally["all"] += 1
        tally["runs"] += found is not None
        tally["covered"] += found is not None and found.low <= -20 <= found.high
    return tally


def count_small_means(rng: Rng, repetitions: int, n_control: int, n_treatment: int) -> Tally:
    """Cover the difference of lognormal means with arms of very different sizes."""
    tally: Tally = defaultdict(float)
    truth = -0.2 * math.exp(0.5)
    for _ in range(repetitions):
        found = mean_effect(rng.lognormal(0, 1, n_control), 0.8 * rng.lognormal(0, 1, n_treatment)).difference
        tally["all"] += 1
        tally["runs"] += found is not None
        tally["covered"] += found is not None and found.low <= truth <= found.high
    return tally


def count_many(rng: Rng, repetitions: int, metrics: int) -> Tally:
    """Look at many metrics that did not change, 100 sessions per arm, with and without allowing for their number."""
    tally: Tally = defaultdict(float)
    for _ in range(repetitions):
        arms = rng.lognormal(9, 1, (metrics, 2, 100))
        p_values = [median_effect(control, treatment).p_value or 0.0 for control, treatment in arms]
        tally["runs"] += 1
        tally["each alone"] += min(p_values) <= 0.05
        tally["together"] += min(adjust_benjamini_hochberg(p_values)) <= 0.05
    return tally


JOBS = [
    ("randomised", count_randomised, [(world, unit) for world in WORLDS for unit in UNITS], 400),
    ("splits", count_splits, [(users, share) for users in (10, 30, 100, 400) for share in (0.5, 0.4)], 4000),
    ("last look", count_last_look, [(came, factor) for came in (100, 150, 250) for factor in (1.0, 0.7)], 400),
    ("guardrails", count_guardrails, [(failing, n) for failing in (0.04, 0.23) for n in (60, 150, 400)], 2000),
    ("unequal", count_unequal, [(case,) for case in UNEQUAL], 1000),
    ("small means", count_small_means, [(20, 500), (500, 20), (50, 500), (20, 20)], 2000),
    ("many metrics", count_many, [(12,), (15,)], 400),
]
"""Name, count function, rows and repetitions of each table; `bench_stats` runs them."""

Totals = dict[str, dict[tuple, Tally]]


def write_designs(report: Report, totals: Totals) -> None:
    """Add one table for each of `JOBS`."""
    _write_randomised(report, totals["randomised"])
    _write_splits(report, totals["splits"])
    _write_last_look(report, totals["last look"])
    _write_guardrails(report, totals["guardrails"])
    _write_clusters(report, totals)
    _write_many(report, totals["many metrics"])


def _write_randomised(report: Report, found: dict[tuple, Tally]) -> None:
    rows = []
    for world in WORLDS:
        tallies = [found[world, unit] for unit in UNITS]
        demanded = {} if WORLDS[world].peaks else _POWER
        met = all(is_at_most(tally, "false", 5) for tally in tallies) and all(
            is_at_least(found[world, unit], "found", limit) for unit, limit in demanded.items()
        )
        cells = [say(tally, key) for key in ("false", "found") for tally in tallies]
        rows.append([world, *cells, report.require(met, f"randomised, {world}")])
    report.table(
        "Arms drawn by lot in the same worlds",
        "Share of experiments of 56 days with 50 sessions a day that find a difference, in percent with one Monte "
        "Carlo standard error: without an effect, and with a fall of 20 %. Targets, within the Monte Carlo error: "
        "at most 5 % false; at least 98 % found by session and 90 % by branch. By day, the days are "
        "the sample; with two peaks, few sessions lie near the median, which no design helps: neither has a target.",
        ["world", *(f"false by {unit}" for unit in UNITS), *(f"found by {unit}" for unit in UNITS), "target met"],
        rows,
    )


def _write_splits(report: Report, found: dict[tuple, Tally]) -> None:
    rows = []
    for (users, share), tally in found.items():
        fair = share == 0.5
        met = report.require(is_at_most(tally, "users", 1), f"split of {users} users") if fair else "not demanded"
        rows.append([str(users), f"{100 * share:.0f} %", say(tally, "users"), say(tally, "sessions"), met])
    report.table(
        "Sample ratio with a coin per user",
        "Alarms (p < 0.01) in percent; users have 1 + lognormal(2.5, 1) sessions. The drawn unit is counted; counting "
        "sessions calls most fair splits unfair. Target: at most 1 % of fair coins.",
        ["users", "true share", "counting users", "counting sessions", "target met"],
        rows,
    )


def _write_last_look(report: Report, found: dict[tuple, Tally]) -> None:
    rows = []
    for (came, factor), tally in found.items():
        null = factor == 1.0
        met = report.require(is_at_most(tally, "spends the rest", 5), f"last look, {came}") if null else "not demanded"
        cells = [say(tally, key) for key in ("spends the rest", "spends as before")]
        rows.append([str(came), f"{100 * (factor - 1):.0f} %", *cells, met])
    report.table(
        "The last look at the end of the window",
        "Planned are 250 sessions per arm; looks at every 25. Share of experiments that find a difference. The last "
        "look spends the level that is left. Target: at most 5 % without an effect.",
        ["came per arm", "true change", "last look spends the rest", "spends as before", "target met"],
        rows,
    )


def _write_guardrails(report: Report, found: dict[tuple, Tally]) -> None:
    rows = []
    for (failing, n), tally in found.items():
        met = is_at_most(tally, "at the limit passed", 4) and is_at_most(tally, "unchanged violated", 5)
        keys = ("unchanged passed", "unchanged violated", "at the limit passed", "at the limit violated")
        cells = [say(tally, key) for key in keys]
        rows.append([f"{100 * failing:.0f} %", str(n), *cells, report.require(met, f"guardrail, {failing}, {n}")])
    report.table(
        "Guardrails on the share of prompts without a failure",
        "Tolerance 5 %. A share of the sessions fails (6 of 10 of their prompts). Exactly at the limit, at most 2.5 % "
        "should pass by the level of the interval; few failures make it more. Targets: at most 4 % pass there, at most "
        "5 % are violated without a change.",
        ["failing", "per arm", "unchanged: passed", "violated", "5 % lower: passed", "violated", "target met"],
        rows,
    )


def _write_clusters(report: Report, totals: Totals) -> None:
    rows = []
    for name, group in (("clusters", totals["unequal"]), ("means", totals["small means"])):
        for row, tally in group.items():
            case = row[0] if name == "clusters" else f"mean, {row[0]} control and {row[1]} treatment sessions"
            refused = f"{100 * (1 - tally['runs'] / tally['all']):.1f}"
            if not tally["runs"]:
                rows.append([case, "none", refused, "yes"])
                continue
            rows.append([case, say(tally, "covered"), refused, report.require(is_at_least(tally, "covered", 93), case)])
    report.table(
        "Very unequal clusters, and means of few sessions",
        "Coverage of 95 % intervals, in percent of those that are given; the others are refused with the reason. "
        "Target: at least 93 %.",
        ["case", "covered", "refused", "target met"],
        rows,
    )


def _write_many(report: Report, found: dict[tuple, Tally]) -> None:
    rows = [
        [
            str(metrics),
            say(tally, "each alone"),
            say(tally, "together"),
            report.require(is_at_most(tally, "together", 5), f"{metrics} metrics"),
        ]
        for (metrics,), tally in found.items()
    ]
    report.table(
        "Many metrics that did not change",
        "Share of experiments in which at least one of them is called clear. Target: at most 5 % by Benjamini and "
        "Hochberg's procedure.",
        ["metrics", "each at 5 %", "allowing for their number", "target met"],
        rows,
    )
