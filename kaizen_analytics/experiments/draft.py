"""An experiment from words: what the options of `exp new` mean, with an error that names what contradicts."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, one_of
from kaizen_analytics.core.metrics import REGISTRY, parse_metric
from kaizen_analytics.core.model import (
    Absolute,
    Branch,
    Delta,
    Direction,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
)
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.compare import WORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaizen_analytics.core.model import Binding, Criterion, Experiment

_BINDINGS: dict[str, tuple[type[GitCommit | Branch | PromptFingerprint], str]] = {
    "git": (GitCommit, "commit"),
    "branch": (Branch, "branch"),
    "prompt": (PromptFingerprint, "fingerprint"),
}
_BINDING_NAMES = (*_BINDINGS, "manual")
_ALL = 100.0
"""No metric is negative, so none falls by more than this many percent."""


def check_draft(experiment: Experiment) -> None:
    """Refuse an experiment that makes no sense, whatever the data.

    Raises:
        ConfigError: the name is empty, the duration is below a day, or two parts of the rule contradict each other.

    >>> from dataclasses import replace
    >>> check_draft(replace(experiment, duration_days=0))
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: The duration is 0 days; expected 1 or more.
    """
    if not experiment.name.strip():
        raise ConfigError("The name is empty; say what is tried, such as --name 'Shorter CLAUDE.md'.")
    if experiment.duration_days < 1:
        raise ConfigError(f"The duration is {experiment.duration_days} days; expected 1 or more.")
    guarded = [guardrail.metric for guardrail in experiment.guardrails]
    if experiment.metric in guarded:
        raise ConfigError(
            f"The guardrail on {experiment.metric.column} is the success metric itself; guard another metric."
        )
    twice = next((metric for metric in guarded if guarded.count(metric) > 1), None)
    if twice is not None:
        raise ConfigError(f"There are two guardrails on {twice.column}; expected one for each metric.")


def parse_direction(text: str) -> Direction:
    """Return the direction named `increase` or `decrease`.

    Raises:
        ConfigError: it is another word.

    >>> parse_direction("decrease")
    <Direction.DECREASE: 'Decrease'>
    """
    try:
        return Direction(text.capitalize())
    except ValueError:
        raise ConfigError(f"The direction is {text!r}; expected increase or decrease.") from None


def parse_guardrail(text: str) -> GuardrailSpec:
    """Return the guardrail written as `metric:increase:5`: the metric must not rise by more than 5 %.

    Raises:
        ConfigError: it does not have three parts, or one of them is wrong.

    >>> parse_guardrail("success_rate:decrease:5").threshold_pct
    5.0
    """
    name, direction, threshold_pct = split_guardrail(text)
    return GuardrailSpec(metric=parse_metric(name), regression_direction=direction, threshold_pct=threshold_pct)


def split_guardrail(text: str) -> tuple[str, Direction, float]:
    """Return the metric's name, the direction and the percent of a guardrail, as `parse_guardrail` reads it.

    >>> split_guardrail("cost:increase:5%")
    ('cost', <Direction.INCREASE: 'Increase'>, 5.0)
    """
    parts = text.split(":")
    if len(parts) != 3:
        raise ConfigError(
            f"The guardrail is {text!r}; expected metric:increase:PERCENT or metric:decrease:PERCENT, "
            "such as cost_per_session:increase:5."
        )
    threshold_pct, direction = _parse_percent(parts[2].removesuffix("%"), text), parse_direction(parts[1])
    if direction is Direction.DECREASE and threshold_pct >= _ALL:
        raise ConfigError(f"The guardrail {text!r} tolerates any fall: nothing falls by more than 100 percent.")
    return parts[0], direction, threshold_pct


def build_criterion(
    metric: Metric, *, target_pct: float | None = None, direction: str | None = None, absolute: float | None = None
) -> Criterion:
    """Return the success criterion that the options ask for.

    Args:
        metric: The experiment's metric; its better side is the default direction.
        direction: `increase` or `decrease`.
        absolute: A value that the treatment arm is to reach, instead of a change.

    Raises:
        ConfigError: both or neither are given, or the sign of the target contradicts the direction.

    >>> build_criterion(Metric.TOKENS_PER_SESSION, target_pct=-10)
    Delta(direction=<Direction.DECREASE: 'Decrease'>, target_pct=-10.0)
    """
    if (target_pct is None) == (absolute is None):
        raise ConfigError("A success criterion is needed: give either --target-pct or --absolute, and not both.")
    if absolute is not None:
        if direction is not None:
            raise ConfigError("--direction belongs to --target-pct; with --absolute the metric's better side counts.")
        return Absolute(metric_value=absolute)
    wanted = REGISTRY[metric].better if direction is None else parse_direction(direction)
    target = 0.0 if target_pct is None else target_pct
    if not -_ALL <= target < math.inf:
        raise ConfigError(f"--target-pct is {target:g}; no metric falls by more than 100 percent.")
    sign = Direction.INCREASE if target > 0 else Direction.DECREASE
    if target != 0 and sign is not wanted:
        source = f"the better side of {metric.column}" if direction is None else "--direction"
        raise ConfigError(
            f"--target-pct {target:+g} asks for {_article(sign)} and {source} says {wanted.lower()}: they contradict "
            "each other. Change the sign of --target-pct, or give --direction."
        )
    return Delta(direction=wanted, target_pct=target)


# What begins with a dash is an option, and git lets no reference hold the others.
_REFERENCE = re.compile(r"(?!-)[^\x00-\x20\x7f]+")


def build_binding(kind: str, options: Mapping[str, str | None], variant_field: str = "") -> Binding:
    """Return the binding of kind `git`, `branch`, `prompt` or `manual`.

    Args:
        options: `control_commit`, `treatment_commit`, `control_branch` and so on; None where not given.
        variant_field: The payload key of a manual binding; empty for tags alone.

    Raises:
        ConfigError: the kind is unknown, or an option is missing or belongs to another kind.

    >>> build_binding("branch", {"control_branch": "main", "treatment_branch": "short"})
    Branch(control_branch='main', treatment_branch='short')
    """
    given = {name for name, value in options.items() if value is not None}
    if kind == "manual":
        _refuse_others(kind, given)
        return ManualTag(variant_field=variant_field)
    binding, noun = _BINDINGS[one_of("The binding", kind, _BINDING_NAMES)]
    names = (f"control_{noun}", f"treatment_{noun}")
    values = {name: value for name in names if (value := options.get(name))}
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigError(f"--bind {kind} needs {' and '.join(map(_option, missing))}.")
    _refuse_others(kind, given - set(names))
    for name, value in values.items():
        if kind in {"git", "branch"} and not _REFERENCE.fullmatch(value):
            raise ConfigError(
                f"{_option(name)} is {value!r}, which no git reference is called; expected a commit, a tag or a branch."
            )
    return binding(**values)


def _refuse_others(kind: str, others: set[str]) -> None:
    if others:
        raise ConfigError(f"--bind {kind} does not take {', '.join(map(_option, sorted(others)))}.")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _article(direction: Direction) -> str:
    return "an increase" if direction is Direction.INCREASE else "a decrease"


def _parse_percent(text: str, guardrail: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(f"The guardrail {guardrail!r} tolerates {text!r} percent; expected a number of 0 or more.")
    return value


_CHECKS_PCT, _WORK_PCT = 5.0, 20.0
_PAST_DAYS = 28
_MIN_SESSIONS = 10
"""Past sessions with a value that a default guardrail needs."""


def default_guardrails(sessions: pl.DataFrame, experiment: Experiment, *, now_ms: int) -> tuple[GuardrailSpec, ...]:
    """Return the guardrails that an experiment gets where the sessions of the last 28 days have the data.

    The last check must not pass less often by more than 5 percent, and the work done must not fall by more than 20:
    commits, or prompts where there are none. A metric that the experiment judges already is left out.

    >>> from kaizen_analytics.experiments.sample import read_scope
    >>> found = default_guardrails(read_scope(store, ()), experiment, now_ms=evaluation.as_of_ms)
    >>> [spec.metric.column for spec in found]
    ['prompts_per_session']
    """
    recent = sessions.filter(pl.col("started_at_ms").is_between(now_ms - _PAST_DAYS * DAY_MS, now_ms))
    judged = {experiment.metric, *(spec.metric for spec in experiment.guardrails)}
    work = next((metric for metric in WORK if _has_data(recent, metric) and recent[metric.column].sum() > 0), None)
    wanted = [(Metric.CHECKS_PASSED, _CHECKS_PCT)]
    if work is not None and not judged.intersection(WORK):
        wanted.append((work, _WORK_PCT))
    return tuple(
        GuardrailSpec(metric, Direction.DECREASE, percent)
        for metric, percent in wanted
        if metric not in judged and _has_data(recent, metric)
    )


def _has_data(sessions: pl.DataFrame, metric: Metric) -> bool:
    return sessions[metric.column].count() >= _MIN_SESSIONS
