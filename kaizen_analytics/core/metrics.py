"""The registry of session metrics: unit, better side, kind, definition and what NULL means.

The numbers themselves come from `sql/marts/session_metrics.sql`, one column per metric (`Metric.column`).
This module only says what a column holds, so that every table, report and verdict names it in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.core.model import Direction, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping


class MetricKind(StrEnum):
    """How a metric is compared between two arms."""

    QUANTITY = "quantity"
    """A number per session, compared by medians, or by means where the experiment says so."""
    COUNT = "count"
    """A small whole number per session, compared by means: half of the sessions may share one value."""
    PROPORTION = "proportion"
    """0 or 1 per session, compared by shares."""
    RATE = "rate"
    """A ratio of two totals, all sessions of an arm together: a long session weighs more than a short one."""


@dataclass(frozen=True, slots=True)
class _MetricDefinition:
    """What one metric measures.

    `null_when` says for which sessions it is NULL, never 0. `denominator` is the column that a RATE is a ratio to, and
    `numerator` the column of what is divided: all sessions that know both count, also those with a denominator of 0.
    Without a `numerator` it is the metric times its denominator. None for every other kind.
    """

    metric: Metric
    label: str
    unit: str
    definition: str
    null_when: str
    better: Direction = Direction.DECREASE
    kind: MetricKind = MetricKind.QUANTITY
    denominator: str | None = None
    numerator: str | None = None


_DEFINITIONS = (
    _MetricDefinition(
        Metric.TOKENS_PER_SESSION,
        "Tokens per session",
        "tokens",
        "Input tokens outside any cache, tokens written to a cache, output and reasoning tokens, summed over "
        "the session: what the model newly processed or wrote.",
        "no event of the session carries usage",
    ),
    _MetricDefinition(
        Metric.TOTAL_TOKENS_PER_SESSION,
        "Total tokens per session",
        "tokens",
        "Tokens per session plus the tokens read from a cache.",
        "no event of the session carries usage",
    ),
    _MetricDefinition(
        Metric.COST_PER_SESSION,
        "Cost per session",
        "USD",
        "The cost of the session's responses, summed; a response without a price is left out and counted.",
        "the session has no response with a price",
    ),
    _MetricDefinition(
        Metric.SUCCESS_RATE,
        "Sessions without an error or interruption",
        "share",
        "1 for a session without any Error event, otherwise 0.",
        "the session has no events",
        better=Direction.INCREASE,
        kind=MetricKind.PROPORTION,
    ),
    _MetricDefinition(
        Metric.TOOL_LOOPS,
        "Tool loops",
        "count",
        "Tool calls whose tool is the same as that of the tool call before, in order of time.",
        "the session has no tool calls",
        kind=MetricKind.COUNT,
    ),
    _MetricDefinition(
        Metric.DURATION_MINUTES,
        "Duration",
        "min",
        "Minutes from the start of the session to its end.",
        "the session has no recorded end",
    ),
    _MetricDefinition(
        Metric.ACTIVE_MINUTES,
        "Active time",
        "min",
        "The gaps between consecutive events, each cut at five minutes, summed.",
        "fewer than two events have an exact time",
    ),
    _MetricDefinition(
        Metric.FILES_PER_SESSION,
        "Files per session",
        "files",
        "Distinct paths that the session touched.",
        "never; a session that touched no file counts 0",
        kind=MetricKind.COUNT,
    ),
    _MetricDefinition(
        Metric.SUCCESS_RATE_BY_PROMPT,
        "Success rate by prompt",
        "share",
        "One minus errors per human prompt, where errors count at most once per prompt.",
        "the session has no recorded human prompt",
        denominator=Metric.PROMPTS_PER_SESSION.column,
        better=Direction.INCREASE,
        kind=MetricKind.RATE,
    ),
    _MetricDefinition(
        Metric.COST_BY_PROMPT,
        "Cost by prompt",
        "USD",
        "Cost of the session divided by its human prompts.",
        "the session has no recorded human prompt, or no cost",
        kind=MetricKind.RATE,
        denominator=Metric.PROMPTS_PER_SESSION.column,
    ),
    _MetricDefinition(
        Metric.TOOL_ERROR_RATE,
        "Tool error rate",
        "share",
        "Failed tool results divided by all tool results whose outcome is known.",
        "the outcome of no tool result is known",
        kind=MetricKind.RATE,
        denominator="tool_results",
    ),
    _MetricDefinition(
        Metric.CACHE_HIT_RATE,
        "Cache hit rate",
        "share",
        "Tokens read from a cache divided by all input tokens (plain, written to and read from a cache).",
        "the session has no recorded input tokens",
        denominator="input_tokens",
        better=Direction.INCREASE,
        kind=MetricKind.RATE,
    ),
    _MetricDefinition(
        Metric.PROMPTS_PER_SESSION,
        "Prompts per session",
        "prompts",
        "Human prompts of the session.",
        "the session has no messages, or the store does not mark human prompts",
        kind=MetricKind.COUNT,
    ),
    _MetricDefinition(
        Metric.CHECKS_PASSED,
        "Last check passed",
        "share",
        "1 if the last test, build, type check or linter run of the session passed, otherwise 0.",
        "the session ran no check, its result is not known, or 'outcomes' has not looked",
        better=Direction.INCREASE,
        kind=MetricKind.PROPORTION,
    ),
    _MetricDefinition(
        Metric.COMMITS_PER_SESSION,
        "Commits per session",
        "commits",
        "Commits that the session made.",
        "the transcript cannot tell, or 'outcomes' has not looked",
        better=Direction.INCREASE,
        kind=MetricKind.COUNT,
    ),
    _MetricDefinition(
        Metric.LANDED,
        "Work landed",
        "share",
        "1 if a commit of the session is on the default branch, as itself or as a copy, otherwise 0.",
        "the session made no commit, the repository cannot tell, or 'outcomes' has not looked",
        better=Direction.INCREASE,
        kind=MetricKind.PROPORTION,
    ),
    _MetricDefinition(
        Metric.REVERTED,
        "Work reverted",
        "share",
        "1 if a commit of the session that landed was reverted, otherwise 0.",
        "nothing of the session landed, or 'outcomes' has not looked",
        kind=MetricKind.PROPORTION,
    ),
    _MetricDefinition(
        Metric.REWORK,
        "Rework",
        "share",
        "Lines of the session's landed commits that were changed again within 14 days, divided by all of them.",
        "nothing of the session landed, its lines are younger than 14 days or shared with another session",
        kind=MetricKind.RATE,
        denominator="lines_added",
    ),
    _MetricDefinition(
        Metric.COST_PER_COMMIT,
        "Cost per commit",
        "USD",
        "Cost of all sessions divided by their commits; sessions without a commit cost, too.",
        "the session made no commit, has no cost, or 'outcomes' has not looked",
        kind=MetricKind.RATE,
        denominator=Metric.COMMITS_PER_SESSION.column,
        numerator=Metric.COST_PER_SESSION.column,
    ),
    _MetricDefinition(
        Metric.TOKENS_PER_COMMIT,
        "Tokens per commit",
        "tokens",
        "Tokens of all sessions divided by their commits; sessions without a commit use tokens, too.",
        "the session made no commit, has no usage, or 'outcomes' has not looked",
        kind=MetricKind.RATE,
        denominator=Metric.COMMITS_PER_SESSION.column,
        numerator=Metric.TOKENS_PER_SESSION.column,
    ),
    _MetricDefinition(
        Metric.COST_PER_SURVIVING_LINE,
        "Cost per surviving line",
        "USD",
        "Cost of the sessions whose lines are known, divided by the lines that are left after 14 days.",
        "none of the session's lines are left, they are younger than 14 days, or the session has no cost",
        kind=MetricKind.RATE,
        denominator="lines_surviving",
        numerator=Metric.COST_PER_SESSION.column,
    ),
    _MetricDefinition(
        Metric.SESSION_SCORE,
        "Score",
        "points",
        "The last score, 1 (bad) to 5 (good), that a person gave the session with 'sessions annotate'.",
        "nobody gave one",
        better=Direction.INCREASE,
        kind=MetricKind.COUNT,
    ),
    _MetricDefinition(
        Metric.FINDING_RATE,
        "Sessions with the finding",
        "share",
        "1 if the session shows the finding of a retro that the experiment is to prove, otherwise 0.",
        "the session could not have shown it, or the experiment was not made from a finding",
        kind=MetricKind.PROPORTION,
    ),
)

OUTCOMES = frozenset(
    {
        Metric.CHECKS_PASSED,
        Metric.COMMITS_PER_SESSION,
        Metric.LANDED,
        Metric.REVERTED,
        Metric.REWORK,
        Metric.COST_PER_COMMIT,
        Metric.TOKENS_PER_COMMIT,
        Metric.COST_PER_SURVIVING_LINE,
        Metric.SESSION_SCORE,
    }
)
"""The metrics that 'outcomes' or a person finds out; they are missing everywhere until one of them has looked."""

REGISTRY: Mapping[Metric, _MetricDefinition] = MappingProxyType({d.metric: d for d in _DEFINITIONS})
"""Every metric's definition, in the order in which tables show them."""

OF_SESSIONS = tuple(metric for metric in REGISTRY if metric is not Metric.FINDING_RATE)
"""The metrics that a session has by itself: the rate of a finding belongs to the sample of one experiment."""


def parse_metric(text: str) -> Metric:
    """Return the metric named `text`: `tokens_per_session`, `tokens-per-session` or `TokensPerSession`.

    Raises:
        ConfigError: no metric has this name.

    >>> parse_metric("tokens-per-session")
    <Metric.TOKENS_PER_SESSION: 'TokensPerSession'>
    """
    wanted = text.replace("-", "").replace("_", "").lower()
    for metric in Metric:
        if metric.value.lower() == wanted:
            return metric
    names = [metric.column for metric in Metric]
    raise ConfigError(
        f"Unknown metric {text!r}; expected one of {', '.join(names)}.{did_you_mean(text.lower(), names)}"
    )
