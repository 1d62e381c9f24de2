"""Worlds in which sessions before and after a change are compared: what the history does by itself, and an effect.

Time is in days, the change is at 0. Sessions have a log standard deviation of 1.05 within a day. The weeks of a task
mix begin on a random day: nobody merges on the boundary of one. A model is released on a random day around the change
and recorded, so it is a stratum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kaizen_analytics.stats.before_after import Timeline

_SIGMA = 1.05
_LEVEL = 11.3
"""Logarithm of the tokens of a typical session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What moves the values when nothing is changed.

    `trend` is a relative change a week, `release` the relative change at a recorded model release, `weekly` and `day`
    the log standard deviations of the levels of weeks (an autoregression with 0.7) and days. With `tasks`, neighbouring
    sessions share a task of 1 + Poisson(2) sessions that explains half of their variance. With `peaks`, values have two
    peaks.
    """

    trend: float = 0.0
    release: float = 0.0
    weekly: float = 0.0
    day: float = 0.0
    tasks: bool = False
    peaks: bool = False


WORLDS = {
    "calm": World(),
    "trend -2 % a week": World(trend=-0.02),
    "trend +2 % a week": World(trend=0.02),
    "release -15 %": World(release=-0.15),
    "release -30 %": World(release=-0.30),
    "weekly mix 0.2": World(weekly=0.2),
    "weekly mix 0.4": World(weekly=0.4),
    "days 0.3": World(day=0.3),
    "days 0.5": World(day=0.5),
    "tasks": World(tasks=True),
    "two peaks": World(peaks=True),
}


def draw_world(
    rng: np.random.Generator, world: World, *, history: int, after: int, per_day: float, effect: float = 0.0
) -> Timeline:
    """Return one history with a change; the arguments are those of `draw_tasks`."""
    return draw_tasks(rng, world, history=history, after=after, per_day=per_day, effect=effect)[0]


def draw_tasks(
    rng: np.random.Generator, world: World, *, history: int, after: int, per_day: float, effect: float = 0.0
) -> tuple[Timeline, np.ndarray]:
    """Return one history with a change, and the task of each session: 1 + Poisson(2) neighbouring sessions share one.

    Args:
        rng: The source of all randomness.
        world: What moves the values.
        history: Days before the change.
        after: Days after it; the window holds as many before it.
        per_day: Sessions a day.
        effect: True relative change of every session after the change.
    """
    n = int(rng.poisson(per_day * (history + after)))
    time = np.sort(rng.uniform(-history, after, n))
    days = np.floor(time).astype(int)
    logs = _LEVEL + np.log1p(world.trend) * time / 7 + np.log1p(effect) * (time >= 0)
    strata = np.zeros(n, dtype=int)
    if world.release:
        strata = (time > rng.uniform(-after, after)).astype(int)
        logs += np.log1p(world.release) * strata
    if world.weekly:
        logs += _draw_weeks(rng, world.weekly, time + history)
    if world.day:
        logs += rng.normal(0, world.day, history + after)[days + history]
    noise, tasks = _draw_noise(rng, world, n)
    line = Timeline(days=days, after=time >= 0, strata=strata, values=np.exp(logs + noise), in_window=time >= -after)
    return line, tasks


def _draw_weeks(rng: np.random.Generator, spread: float, time: np.ndarray) -> np.ndarray:
    weeks = np.floor((time + rng.uniform(0, 7)) / 7).astype(int)
    levels = rng.normal(0, spread, weeks.max() + 1)
    for week in range(1, levels.size):
        levels[week] = 0.7 * levels[week - 1] + np.sqrt(1 - 0.7**2) * levels[week]
    return levels[weeks]


def _draw_noise(rng: np.random.Generator, world: World, n: int) -> tuple[np.ndarray, np.ndarray]:
    noise = rng.standard_normal(n)
    if world.tasks:
        of = np.repeat(np.arange(n), 1 + rng.poisson(2, n))[:n]
        return _SIGMA * np.sqrt(0.5) * (rng.standard_normal(n)[of] + noise), of
    if world.peaks:
        noise = (np.where(rng.random(n) < 0.5, -1.0, 1.0) + 0.5 * noise) / _SIGMA
    return _SIGMA * noise, np.arange(n) // 3  # where tasks do not matter, three sessions make one
