"""The registry of session metrics: unit, better side, kind, definition and what NULL means.

The numbers themselves come from `sql/marts/session_metrics.sql`, one column per metric (`Metric.column`).
This module only says what a column holds, so that every table, report and verdict names it in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError, did_you_mean
from kaizen_analytics.model import Direction, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping


class MetricKind(StrEnum):
    """How a metric is compared between two arms."""

    QUANTITY = "quantity"
    """A number per session, compared by medians."""
    PROPORTION = "proportion"
    """0 or 1 per session, compared by shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDefinition:
    """What one metric measures; `null_when` says for which sessions it is NULL, never 0."""

    metric: Metric
    label: str
    unit: str
    better: Direction
    kind: MetricKind
    definition: str
    null_when: str


def _lower(metric: Metric, label: str, unit: str, definition: str, null_when: str) -> MetricDefinition:
    return MetricDefinition(
        metric=metric,
        label=label,
        unit=unit,
        better=Direction.DECREASE,
        kind=MetricKind.QUANTITY,
        definition=definition,
        null_when=null_when,
    )


def _higher(metric: Metric, label: str, kind: MetricKind, definition: str, null_when: str) -> MetricDefinition:
    return MetricDefinition(
        metric=metric,
        label=label,
        unit="share",
        better=Direction.INCREASE,
        kind=kind,
        definition=definition,
        null_when=null_when,
    )


_DEFINITIONS = (
    _lower(
        Metric.TOKENS_PER_SESSION,
        "Tokens per session",
        "tokens",
        "Input tokens outside any cache, tokens written to a cache, output and reasoning tokens, summed over "
        "the session: what the model newly processed or wrote.",
        "no event of the session carries usage",
    ),
    _lower(
        Metric.TOTAL_TOKENS_PER_SESSION,
        "Total tokens per session",
        "tokens",
        "Tokens per session plus the tokens read from a cache.",
        "no event of the session carries usage",
    ),
    _lower(
        Metric.COST_PER_SESSION,
        "Cost per session",
        "USD",
        "The priced cost of every response of the session, summed.",
        "the session has no usage, or one of its responses has no price",
    ),
    _higher(
        Metric.SUCCESS_RATE,
        "Success rate",
        MetricKind.PROPORTION,
        "1 for a session without any Error event, otherwise 0.",
        "the session has no events",
    ),
    _lower(
        Metric.TOOL_LOOPS,
        "Tool loops",
        "count",
        "Tool calls whose tool is the same as that of the tool call before, in order of time.",
        "the session has no tool calls",
    ),
    _lower(
        Metric.DURATION_MINUTES,
        "Duration",
        "min",
        "Minutes from the start of the session to its end.",
        "the session has no recorded end",
    ),
    _lower(
        Metric.ACTIVE_MINUTES,
        "Active time",
        "min",
        "The gaps between consecutive events, each cut at five minutes, summed.",
        "fewer than two events have an exact time",
    ),
    _lower(
        Metric.FILES_PER_SESSION,
        "Files per session",
        "files",
        "Distinct paths that the session touched.",
        "never; a session that touched no file counts 0",
    ),
    _higher(
        Metric.SUCCESS_RATE_BY_PROMPT,
        "Success rate by prompt",
        MetricKind.QUANTITY,
        "One minus errors per human prompt, where errors count at most once per prompt.",
        "the session has no recorded human prompt",
    ),
    _lower(
        Metric.COST_BY_PROMPT,
        "Cost by prompt",
        "USD",
        "Cost of the session divided by its human prompts.",
        "the session has no recorded human prompt, or no cost",
    ),
    _lower(
        Metric.TOOL_ERROR_RATE,
        "Tool error rate",
        "share",
        "Failed tool results divided by all tool results whose outcome is known.",
        "the outcome of no tool result is known",
    ),
    _higher(
        Metric.CACHE_HIT_RATE,
        "Cache hit rate",
        MetricKind.QUANTITY,
        "Tokens read from a cache divided by all input tokens (plain, written to and read from a cache).",
        "the session has no recorded input tokens",
    ),
    _lower(
        Metric.PROMPTS_PER_SESSION,
        "Prompts per session",
        "prompts",
        "Human prompts of the session.",
        "the session has no messages, or the store does not mark human prompts",
    ),
)

REGISTRY: Mapping[Metric, MetricDefinition] = MappingProxyType({d.metric: d for d in _DEFINITIONS})
"""Every metric's definition, in the order in which tables show them."""


_NAMES = re.compile(rf"\b(?:{'|'.join(metric.value for metric in Metric)})\b")


def label_metrics(text: str) -> str:
    """Return a sentence with every metric by its label: `DurationMinutes rose` becomes `Duration rose`."""

    def label(found: re.Match[str]) -> str:
        words = REGISTRY[Metric(found.group())].label
        return words.lower() if found.start() else words

    return _NAMES.sub(label, text)


def parse_metric(text: str) -> Metric:
    """Return the metric named `text`: `tokens_per_session`, `tokens-per-session` or `TokensPerSession`.

    Raises:
        ConfigError: no metric has this name.
    """
    wanted = text.replace("-", "").replace("_", "").lower()
    for metric in Metric:
        if metric.value.lower() == wanted:
            return metric
    names = [metric.column for metric in Metric]
    raise ConfigError(
        f"Unknown metric {text!r}; expected one of {', '.join(names)}.{did_you_mean(text.lower(), names)}",
    )
