"""The tables that may leave, column by column. docs/exports.md is written from here, and a test pins every schema."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from kaizen_analytics.datasets.fields import NEVER, NO_CONSENT, Dataset, Field
from kaizen_analytics.datasets.models import model_ids
from kaizen_analytics.experiments.evaluation import Role
from kaizen_analytics.experiments.plan import PlanDesign
from kaizen_analytics.experiments.verdict import GuardrailStatus, Headline, Verdict
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.metrics import REGISTRY
from kaizen_analytics.model import Direction, Metric, State
from kaizen_analytics.redact.projection import ColumnKind
from kaizen_analytics.retro.heuristics import Basis, Category, Confidence, load_heuristics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from enum import StrEnum

    from kaizen_analytics.metrics import MetricDefinition

UNKNOWN = "not recorded"
NOT_EVALUATED = "the experiment has not been evaluated"


def _count(name: str, meaning: str, null: str = NEVER, *, unit: str = "") -> Field:
    return Field(name=name, kind=ColumnKind.COUNT, meaning=meaning, null=null, unit=unit)


def _measure(name: str, meaning: str, null: str = NEVER, *, unit: str = "") -> Field:
    return Field(name=name, kind=ColumnKind.MEASURE, meaning=meaning, null=null, unit=unit)


def _choice(name: str, meaning: str, words: Iterable[StrEnum | str], null: str = NEVER) -> Field:
    choices = frozenset(str(word) for word in words)
    return Field(name=name, kind=ColumnKind.CHOICE, meaning=meaning, null=null, choices=choices)


def _id(name: str, meaning: str, null: str = NEVER) -> Field:
    return Field(name=name, kind=ColumnKind.ID, meaning=meaning, null=null)


def _text(name: str, meaning: str, null: str = NO_CONSENT) -> Field:
    return Field(name=name, kind=ColumnKind.TEXT, meaning=meaning, null=null)


def _hour(name: str, meaning: str, null: str = NEVER) -> Field:
    return Field(name=name, kind=ColumnKind.HOUR, meaning=meaning, null=null, unit="UTC hour")


def _day(name: str, meaning: str, null: str = NEVER) -> Field:
    return Field(name=name, kind=ColumnKind.DAY, meaning=meaning, null=null, unit="UTC day")


def _model() -> Field:
    meaning = "model, by the price list's name; others are stand-ins"
    return Field(name="model", kind=ColumnKind.WORD, meaning=meaning, null=UNKNOWN, choices=model_ids())


_NO_USAGE = "no response of the session carries it"
_SESSION = _id("session", "stand-in of the session's id")
_WORKSPACE = _id("workspace", "stand-in of the workspace's path")
_AGENT = _choice("agent", "agent", Agent)


@cache
def sessions() -> Dataset:
    """Return the sessions, sub-agents apart."""
    fields = (
        _SESSION,
        _id("parent_session", "the session that started it", "no other session started it"),
        _WORKSPACE,
        _id("branch", "stand-in of the branch's name", UNKNOWN),
        _AGENT,
        _model(),
        _hour("started", "when it started"),
        _hour("ended", "when it ended", UNKNOWN),
        _count("events", "events in the transcript"),
        _count("prompts", "human prompts"),
        _count("tool_calls", "tool calls"),
        _count("failures", "errors and failed tool results"),
        _count("unreliable_responses", "responses that report too few output tokens"),
        _count("tokens_in", "input outside any cache", _NO_USAGE, unit="tokens"),
        _count("cache_creation_tokens", "input written to a cache", _NO_USAGE, unit="tokens"),
        _count("cache_read_tokens", "input read from a cache", _NO_USAGE, unit="tokens"),
        _count("tokens_out", "output", _NO_USAGE, unit="tokens"),
        _count("reasoning_tokens", "reasoning, beside the output", _NO_USAGE, unit="tokens"),
        _measure("cost_usd", "cost", "no usage, or a response without a price", unit="USD"),
        _text("workspace_path", "the workspace's path"),
        _text("branch_name", "the branch's name", f"{NO_CONSENT}, or {UNKNOWN}"),
        _text("model_name", "the model's name as recorded", f"{NO_CONSENT}, or {UNKNOWN}"),
    )
    return Dataset(name="sessions", version=1, grain="a session, sub-agents apart", row_id=("session",), fields=fields)


@cache
def metrics() -> Dataset:
    """Return every metric of every session."""
    fields = (
        _SESSION,
        _WORKSPACE,
        _AGENT,
        _model(),
        _hour("started", "when it started"),
        _hour("ended", "when the last of its sessions ended", UNKNOWN),
        _count("sessions_counted", "sessions in the row: itself and its sub-agents"),
        *(_metric(definition) for definition in REGISTRY.values()),
        _count("responses", "responses with usage"),
        _count("unpriced_responses", "responses without a price"),
        _count("unreliable_responses", "responses that report too few output tokens"),
    )
    grain = "a session that a person started, its sub-agents included"
    return Dataset(name="metrics", version=1, grain=grain, row_id=("session",), fields=fields)


def _metric(definition: MetricDefinition) -> Field:
    name, null = definition.metric.column, definition.null_when
    return _measure(name, definition.label.lower(), NEVER if null.startswith(NEVER) else null, unit=definition.unit)


@cache
def experiments() -> Dataset:
    """Return experiments with each metric that they are judged by."""
    lone = "there is no interval, or it is unbounded on this side"
    fields = (
        _id("experiment", "stand-in of the experiment's id"),
        _choice("state", "state of the experiment", State),
        _day("created", "when it was created"),
        _day("concluded", "when it was concluded", "it has not been concluded"),
        _choice("role", "why the metric is there", Role),
        _choice("metric", "metric", Metric),
        Field(name="is_evaluated", kind=ColumnKind.FLAG, meaning="whether the experiment could be evaluated"),
        _choice("verdict", "what the experiment showed", Verdict, NOT_EVALUATED),
        _choice("decision", "what to do", Headline, NOT_EVALUATED),
        _choice("guardrail_status", "whether the guardrail held", GuardrailStatus, "the metric is no guardrail"),
        _choice("target_direction", "which way success lies", Direction, "the criterion is no percent change"),
        _measure("target", "the change that counts as success", "the criterion is no percent change", unit="%"),
        _choice("design", "when the data may be looked at", PlanDesign, NOT_EVALUATED),
        _measure("alpha", "error level of the plan", NOT_EVALUATED, unit="share"),
        _count("control_sessions", "sessions with a value", NOT_EVALUATED),
        _count("treatment_sessions", "sessions with a value", NOT_EVALUATED),
        _count("control_missing", "sessions without a value", NOT_EVALUATED),
        _count("treatment_missing", "sessions without a value", NOT_EVALUATED),
        _measure("control_median", "median", "no session has a value", unit="of the metric"),
        _measure("treatment_median", "median", "no session has a value", unit="of the metric"),
        _measure("control_mean", "mean, or share", "no session has a value", unit="of the metric"),
        _measure("treatment_mean", "mean, or share", "no session has a value", unit="of the metric"),
        _measure("change", "percent change", "there is no percent change", unit="%"),
        _measure("change_low", "lower end of its interval", lone, unit="%"),
        _measure("change_high", "upper end of its interval", lone, unit="%"),
        _measure("confidence_at_target", "confidence in the target, as a single look", NOT_EVALUATED, unit="share"),
        _text("id", "the experiment's id"),
        _text("name", "its name"),
        _text("hypothesis", "its hypothesis"),
        _text("change_description", "what was changed"),
        _text("judgement", "the verdict in words", f"{NO_CONSENT}, or {NOT_EVALUATED}"),
    )
    grain = "a metric of an experiment"
    return Dataset(name="experiments", version=1, grain=grain, row_id=("experiment", "role", "metric"), fields=fields)


@cache
def bets() -> Dataset:
    """Return the bets of one retro."""
    words = "names that nobody declared are stand-ins, or redacted where text was asked for"
    fields = (
        _day("window_start", "first day of the retro's window"),
        _day("window_end", "last day"),
        _count("place", "place in the ranking, from 1"),
        _choice("status", "made now; found too; or made by a retro before", ("made", "found", "repeated")),
        _choice("heuristic", "id of the heuristic", [heuristic.id for heuristic in load_heuristics()]),
        _choice("heuristic_name", "its name", [heuristic.name for heuristic in load_heuristics()]),
        _choice("confidence", "how often such bets turn out right", Confidence),
        _choice("category", "kind of work", Category),
        _count("effort", "time that it may take", unit="min"),
        _choice("basis", "where the saving comes from", Basis),
        _choice("metric", "what an experiment on it would measure", Metric),
        _count("tokens_saved", "what it may save in a week", unit="tokens"),
        _measure("share_of_tokens", "the same, of what a week used", "no session tells its tokens", unit="share"),
        _count("occurrences", "how often what the title speaks of was seen"),
        _count("evidence_sessions", "sessions that show it"),
        _hour("evidence_last", "when the latest of them started", "no session is evidence"),
        _measure("score", "weighted saving for each minute of work"),
        _text("bet_id", f"the bet's id; {words}", NEVER),
        _text("title", f"what was found; {words}", NEVER),
        _text("hypothesis", f"why it matters; {words}", NEVER),
        _text("apply_step", f"what to do; {words}", NEVER),
    )
    return Dataset(name="bets", version=1, grain="a bet of a retro", row_id=("bet_id",), fields=fields, is_prose=True)


DATASETS: dict[str, Callable[[], Dataset]] = {
    "sessions": sessions,
    "metrics": metrics,
    "experiments": experiments,
    "bets": bets,
}
