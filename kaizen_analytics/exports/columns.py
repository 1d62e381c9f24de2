"""What may leave this machine: every table and column that an export or a lake holds, declared once.

`project` lets nothing pass that is not declared here. The schema of files, the tables of a lake and the reference page
(`python data/write_columns.py`) are derived from these declarations.

A version changes when a column goes, or changes its type, unit or meaning. A new column of a file table is added at the
end and changes no version. A lake holds one version (`LAKE_VERSION`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, partial
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.metrics import OF_SESSIONS, OUTCOMES, REGISTRY
from kaizen_analytics.core.model import Classification, DesignKind, Direction, Metric, State
from kaizen_analytics.experiments.decide import Grade, GuardrailStatus, Headline, Verdict
from kaizen_analytics.experiments.evaluation import Role
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.redact import Category
from kaizen_analytics.retro.classes import CLASSES
from kaizen_analytics.retro.wording import model_ids
from kaizen_analytics.usage import TOKEN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class ColumnKind(StrEnum):
    """What the cells of a column are; null is always allowed."""

    COUNT = "count"
    MEASURE = "measure"
    FLAG = "flag"
    MOMENT = "moment"
    HOUR = "hour"
    DAY = "day"
    CHOICE = "choice"
    WORD = "word"
    PSEUDONYM = "pseudonym"
    ID = "id"
    FOLDER = "folder"
    TEXT = "text"


_TYPES: dict[ColumnKind, pl.DataType] = {
    ColumnKind.COUNT: pl.Int64(),
    ColumnKind.MEASURE: pl.Float64(),
    ColumnKind.FLAG: pl.Boolean(),
    ColumnKind.MOMENT: pl.Int64(),
}
_NEVER = "never"
_UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True)
class Column:
    """One column that may leave.

    `words` are the values that a CHOICE or a WORD lets pass as they are. `category` separates pseudonyms: equal names
    of two categories get different ones.
    """

    name: str
    kind: ColumnKind
    meaning: str
    unit: str = ""
    null: str = _NEVER
    words: frozenset[str] = frozenset()
    category: Category = Category.NAME

    @property
    def dtype(self) -> pl.DataType:
        """The type of the column in a frame."""
        return _TYPES.get(self.kind, pl.String())


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A versioned table. `key` names the columns that identify a row.

    The text columns of a table with `is_prose` are made of our own sentences, so they leave without being asked for.
    """

    name: str
    version: int
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    is_prose: bool = False

    @property
    def label(self) -> str:
        """Name and version, as files and messages show them."""
        return f"kaizen.{self.name}/{self.version}"

    @property
    def schema(self) -> pl.Schema:
        """The columns and their types."""
        return pl.Schema({column.name: column.dtype for column in self.columns})


def _column(
    kind: ColumnKind,
    name: str,
    meaning: str,
    null: str = _NEVER,
    *,
    unit: str = "",
    words: Iterable[str] = (),
    category: Category = Category.NAME,
) -> Column:
    return Column(name, kind, meaning, unit, null, frozenset(map(str, words)), category)


_count, _measure, _flag, _moment, _hour, _day, _choice, _word, _name, _id, _folder, _text = (
    partial(_column, kind) for kind in ColumnKind
)


# Tables of files

_NO_USAGE = "no response of the session carries it"
_NO_CONSENT = "free text was not asked for"
_NOT_EVALUATED = "the experiment has not been evaluated"
_SESSION = _id("session", "pseudonym of the session's id")
_WORKSPACE = _id("workspace", "pseudonym of the workspace's path")
_AGENT = _choice("agent", "agent", words=Agent)


@cache
def _sessions() -> Table:
    columns = (
        _SESSION,
        _id("parent_session", "the session that started it", "no other session started it"),
        _WORKSPACE,
        _id("branch", "pseudonym of the branch's name", _UNKNOWN),
        _AGENT,
        _word("model", "model, by the price list's name; others are pseudonyms", _UNKNOWN, words=model_ids()),
        _hour("started", "when it started", unit="UTC hour"),
        _hour("ended", "when it ended", _UNKNOWN, unit="UTC hour"),
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
        _text("workspace_path", "the workspace's path", _NO_CONSENT),
        _text("branch_name", "the branch's name", f"{_NO_CONSENT}, or {_UNKNOWN}"),
        _text("model_name", "the model's name as recorded", f"{_NO_CONSENT}, or {_UNKNOWN}"),
    )
    grain = "a session; sub-agents have rows of their own"
    return Table(name="sessions", version=1, grain=grain, key=("session",), columns=columns)


def _measures(metrics: Iterable[Metric]) -> list[Column]:
    found = [REGISTRY[metric] for metric in metrics]
    return [_measure(one.metric.column, one.label.lower(), one.null_when, unit=one.unit) for one in found]


@cache
def _metrics() -> Table:
    columns = (
        _SESSION,
        _WORKSPACE,
        _AGENT,
        _word("model", "model, by the price list's name; others are pseudonyms", _UNKNOWN, words=model_ids()),
        _hour("started", "when it started", unit="UTC hour"),
        _hour("ended", "when the last of its sessions ended", _UNKNOWN, unit="UTC hour"),
        _count("sessions_counted", "sessions in the row: itself and its sub-agents"),
        *_measures(metric for metric in OF_SESSIONS if metric not in OUTCOMES),
        _count("responses", "responses with usage"),
        _count("unpriced_responses", "responses without a price"),
        _count("unreliable_responses", "responses that report too few output tokens"),
        *_measures(metric for metric in OF_SESSIONS if metric in OUTCOMES),  # a later addition, so at the end
    )
    grain = "a session that a person started, its sub-agents included"
    return Table(name="metrics", version=1, grain=grain, key=("session",), columns=columns)


@cache
def _experiments() -> Table:
    no_percent, no_value = "the criterion is no percent change", "no session has a value"
    unbounded = "there is no interval, or it is unbounded on this side"
    columns = (
        _id("experiment", "pseudonym of the experiment's id"),
        _choice("state", "state of the experiment", words=State),
        _day("created", "when it was created", unit="UTC day"),
        _day("concluded", "when it was concluded", "it has not been concluded", unit="UTC day"),
        _choice("role", "why the metric is there", words=Role),
        _choice("metric", "metric", words=Metric),
        _flag("is_evaluated", "whether the experiment could be evaluated"),
        _choice("verdict", "what the experiment showed", _NOT_EVALUATED, words=Verdict),
        _choice("decision", "what to do", _NOT_EVALUATED, words=Headline),
        _choice("guardrail_status", "whether the guardrail held", "the metric is no guardrail", words=GuardrailStatus),
        _choice("target_direction", "direction of success", no_percent, words=Direction),
        _measure("target", "the change that counts as success", no_percent, unit="%"),
        _choice("design", "when the data may be looked at", _NOT_EVALUATED, words=DesignKind),
        _measure("alpha", "error level of the plan", _NOT_EVALUATED, unit="share"),
        _count("control_sessions", "sessions with a value", _NOT_EVALUATED),
        _count("treatment_sessions", "sessions with a value", _NOT_EVALUATED),
        _count("control_missing", "sessions without a value", _NOT_EVALUATED),
        _count("treatment_missing", "sessions without a value", _NOT_EVALUATED),
        _measure("control_median", "median", no_value, unit="of the metric"),
        _measure("treatment_median", "median", no_value, unit="of the metric"),
        _measure("control_mean", "mean, or share", no_value, unit="of the metric"),
        _measure("treatment_mean", "mean, or share", no_value, unit="of the metric"),
        _measure("change", "percent change", "there is no percent change", unit="%"),
        _measure("change_low", "lower end of its interval", unbounded, unit="%"),
        _measure("change_high", "upper end of its interval", unbounded, unit="%"),
        _measure("confidence_at_target", "confidence in the target, as a single look", _NOT_EVALUATED, unit="share"),
        _text("id", "the experiment's id", _NO_CONSENT),
        _text("name", "its name", _NO_CONSENT),
        _text("hypothesis", "its hypothesis", _NO_CONSENT),
        _text("change_description", "what was changed", _NO_CONSENT),
        _text("judgement", "the verdict in words", f"{_NO_CONSENT}, or {_NOT_EVALUATED}"),
        _choice("grade", "how the arms came about", f"{_NOT_EVALUATED}, or was frozen before grades", words=Grade),
    )
    key = ("experiment", "role", "metric")
    return Table(name="experiments", version=1, grain="a metric of an experiment", key=key, columns=columns)


@cache
def _findings() -> Table:
    names = "names that are not public are pseudonyms, or redacted where text was asked for"
    columns = (
        _day("window_start", "first day of the retro's window", unit="UTC day"),
        _day("window_end", "last day", unit="UTC day"),
        _count("place", "place in the ranking, from 1"),
        _choice("kind", "class of the finding", words=[kind.name for kind in CLASSES]),
        _text("finding", "the finding's id, the same in every window"),
        _count("times", "how often it was seen"),
        _count("sessions", "sessions that it was seen in"),
        _count("exposed", "sessions that it could have been seen in"),
        _count("days", "days that it was seen on"),
        _measure("cost_usd", "what it cost in the window", "no price is known", unit="USD"),
        _measure(
            "usd_per_week",
            "lower end of the interval of its cost a week, on the last quarter of the window",
            "no price is known, or the days before do not show it",
            unit="USD",
        ),
        _text("title", f"what was found; {names}"),
        _text("change", f"what to do; {names}"),
    )
    return Table(
        name="findings", version=1, grain="a finding of a retro", key=("finding",), columns=columns, is_prose=True
    )


USAGE_KEYS = ("day", "week", "month", "agent", "model", "workspace", "branch", "task", "session")
"""What usage that is shared can be grouped by."""


def usage_table(by: Sequence[str]) -> Table:
    """Return the declaration of tokens and cost by some keys, as `usage.compute_usage` counts them.

    Raises:
        ConfigError: a key is none of those that may leave.

    >>> [column.name for column in usage_table(["day", "model"]).columns][:3]
    ['day', 'model', 'sessions']
    """
    period = "first day of the period"
    keys = {
        **{name: _day(name, period) for name in ("day", "week", "month")},
        "agent": _AGENT,
        "model": _word("model", "model, by the price list's name; others are pseudonyms", _UNKNOWN, words=model_ids()),
        **{
            name: _id(name, f"pseudonym of the {name}", _UNKNOWN) for name in ("workspace", "branch", "task", "session")
        },
    }
    unknown = [name for name in by if name not in USAGE_KEYS]
    if unknown:
        raise ConfigError(f"Usage that is shared is grouped by {', '.join(USAGE_KEYS)}, not by {unknown[0]!r}.")
    counts = ("sessions", "responses", "unpriced_responses", "unreliable_responses", *TOKEN_COLUMNS, "new_tokens")
    columns = (
        *(keys[name] for name in by),
        *(_count(name, name.replace("_", " "), _NO_USAGE) for name in counts),
        _measure("cost_usd", "cost", "no response has a price", unit="USD"),
        _measure("priced_share", "share of the tokens whose model has a price", "there are no tokens"),
    )
    return Table(name="usage", version=1, grain="a group of responses", key=tuple(by), columns=columns)


TABLES: dict[str, Callable[[], Table]] = {
    "sessions": _sessions,
    "metrics": _metrics,
    "experiments": _experiments,
    "findings": _findings,
}
"""The tables of files, made on first use: their words come from the price list and from the classes of findings."""


# Tables of a lake

LAKE_VERSION = 1
"""Version of the layout and of every table of a lake."""

ARM_VALUES = ("control", "treatment", "mixed")
"""What the table `variant_values` says of a session."""

PLAN_NUMBERS = (
    "alpha",
    "margin_pct",
    "planned_n",
    "planned_control_n",
    "lookback_days",
    "control_share",
    "design_effect",
)
"""Fields of a plan that leave, and come back, as they are."""

START_COLUMNS = {
    **{name: name for name in ("started_at_ms", "window_start_ms", "window_end_ms", "control_ref", "treatment_ref")},
    "retrospective": "is_retrospective",
    "adopted": "is_adopted",
}
"""The fields of a start, and the columns in which they leave and come back."""

# Fixed, unlike `model_ids`: all machines of a lake must show a model in the same way.
_MODELS = """
    claude-haiku-4-5 claude-haiku-4-5-20251001 claude-opus-4-1 claude-opus-4-1-20250805 claude-opus-4-5
    claude-opus-4-5-20251101 claude-opus-4-6 claude-opus-4-7 claude-opus-4-8 claude-sonnet-4-20250514 claude-sonnet-4-5
    claude-sonnet-4-5-20250929 claude-sonnet-4-6 claude-sonnet-5 gpt-5 gpt-5-codex gpt-5.1 gpt-5.1-codex
    gpt-5.1-codex-max gpt-5.2 gpt-5.2-codex gpt-5.3-codex gpt-5.3-codex-spark gpt-5.4 gpt-5.5 gpt-5.6-sol
"""
_LAKE_MODELS = frozenset(_MODELS.split())
"""Public names of models, which leave into a lake as they are."""


class LakeTable(StrEnum):
    """The tables of a lake."""

    SESSIONS = "sessions"
    EVENTS = "events"
    FILES_TOUCHED = "files_touched"
    EXPERIMENTS = "experiments"
    GUARDRAILS = "guardrails"
    SCOPES = "scopes"
    TAGS = "tags"
    VARIANT_VALUES = "variant_values"


PARTITIONED = (LakeTable.SESSIONS, LakeTable.EVENTS, LakeTable.FILES_TOUCHED)
"""Tables that are divided by a hash of the root session and by day."""


def _lake(name: LakeTable, grain: str, key: tuple[str, ...], *columns: Column) -> Table:
    source = _id("source", "the store that exported the row")
    # One category for all names: an id must be the same in every table.
    named = tuple(
        replace(one, category=Category.USER) if one.category is Category.NAME else one for one in (source, *columns)
    )
    key = ("source", *key)
    return Table(name=f"lake.{name}", version=LAKE_VERSION, grain=f"{grain}, in one store", key=key, columns=named)


_LAKE_SESSION = _id("session_id", "the session")
_EXPERIMENT = _id("experiment_id", "the experiment")
_NO_COMMITS = "the arms are not commits, branches or prompts"
_TOKENS = ("tokens_in", "tokens_out", "reasoning_tokens", "cache_creation_tokens", "cache_read_tokens")

_LAKE_TABLES = (
    _lake(
        LakeTable.SESSIONS,
        "a session",
        ("id",),
        _id("id", "the session"),
        _word("agent", "the agent", words=Agent),
        _word("model", "the model", _UNKNOWN, words=_LAKE_MODELS),
        _folder("workspace", "where it ran", _UNKNOWN),
        _moment("started_at_ms", "its start", _UNKNOWN),
        _moment("ended_at_ms", "its end", _UNKNOWN),
        _id("parent_session_id", "the session that started it", "no other session started it"),
        _word("branch", "the branch", _UNKNOWN),
        _word("start_commit", "the commit it started on", _UNKNOWN),
        _word("prompt_fingerprint", "the instructions it ran under", _UNKNOWN),
        _flag("is_dirty", "the working tree had changes at the start"),
        _flag("is_inferred", "branch and commit were inferred from the repository's history"),
        _name("user_name", "who ran it", _UNKNOWN),
        _name("organisation", "the owner of the workspace's repository", _UNKNOWN, category=Category.ORGANISATION),
        _count("events", "how many events it has; of two exports of a session the longer one counts"),
    ),
    _lake(
        LakeTable.EVENTS,
        "an event",
        ("session_id", "seq"),
        _LAKE_SESSION,
        _count("seq", "its place in the session"),
        _moment("ts_ms", "when it happened"),
        _count("ts_exact", "1: by the transcript's own clock"),
        _choice("kind", "what happened", words=("ToolCall", "ToolResult", "Message", "Error", "Hook", "Lifecycle")),
        _word("tool", "the tool, always a pseudonym", "the event is no tool call or result"),
        *(_count(name, name.replace("_", " "), "the event carries none", unit="tokens") for name in _TOKENS),
        _count("cost_usd_e6", "cost", "no usage, or no price", unit="USD/1,000,000"),
        _choice("message_role", "whose message", "the event is no message", words=("assistant", "user", "system")),
        _count("is_prompt", "1: a person typed it", "the event is no message, or does not say"),
        _count("is_unreliable", "1: token counts are not final", "the event is no message, or does not say"),
        _count("is_error", "1: the tool failed", "the event is no tool result, or does not say"),
    ),
    _lake(
        LakeTable.FILES_TOUCHED,
        "a session and a file",
        ("session_id", "path"),
        _LAKE_SESSION,
        _word("path", "the file, by a pseudonym that differs from one root session to the next"),
    ),
    _lake(
        LakeTable.EXPERIMENTS,
        "a started experiment, by the rule that was frozen at its start",
        ("experiment_id",),
        _EXPERIMENT,
        _choice("state", "its state", words=State),
        _choice("metric", "what is measured", words=Metric),
        _choice(
            "binding",
            "how sessions are assigned to arms",
            words=("GitCommit", "Branch", "PromptFingerprint", "ManualTag"),
        ),
        _word("control", "the control arm's branch, fingerprint or commit", _NO_COMMITS),
        _word("treatment", "the treatment arm's", _NO_COMMITS),
        _flag("has_variant_field", "arms come from a key in the payload of events"),
        _choice("criterion", "the kind of success criterion", words=("Delta", "Absolute")),
        _choice("direction", "the direction of a change", "the criterion is no change", words=Direction),
        _measure("target", "the percent change, or the value to reach"),
        _count("duration_days", "days to collect"),
        _moment("created_at_ms", "when it was planned"),
        _moment("concluded_at_ms", "when it was concluded", "it has not been concluded"),
        _measure("alpha", "error level"),
        _measure("margin_pct", "equivalence margin", "the plan has none"),
        _choice("cluster", "whose sessions resemble each other", words=Cluster),
        _choice("design", "how often the data may be looked at", words=DesignKind),
        _count("planned_n", "planned sessions per arm", "the plan has none"),
        _count("planned_control_n", "planned sessions of the control arm", "the plan has none"),
        _count("lookback_days", "days before the start that count"),
        _measure("control_share", "declared share of the control arm", "the plan has none"),
        _measure("design_effect", "sessions of a cluster that were expected to be worth an independent one"),
        _moment("started_at_ms", "when it was started"),
        _moment("window_start_ms", "first session start that counts"),
        _moment("window_end_ms", "last session start that counts"),
        _word("control_ref", "the frozen commit of the control arm", "there is none"),
        _word("treatment_ref", "the frozen commit of the treatment arm", "there is none"),
        _flag("is_retrospective", "started in the past"),
        _flag("is_adopted", "started by another tool"),
    ),
    _lake(
        LakeTable.GUARDRAILS,
        "a guardrail of an experiment",
        ("experiment_id", "position"),
        _EXPERIMENT,
        _count("position", "its place in the experiment's list"),
        _choice("metric", "what must not move", words=Metric),
        _choice("regression_direction", "the feared direction", words=Direction),
        _measure("threshold_pct", "by how many percent", unit="%"),
    ),
    _lake(
        LakeTable.SCOPES,
        "a workspace of an experiment",
        ("experiment_id", "workspace"),
        _EXPERIMENT,
        _folder("workspace", "a workspace whose sessions count, with all below it"),
    ),
    _lake(
        LakeTable.TAGS,
        "a tag",
        ("experiment_id", "session_id"),
        _EXPERIMENT,
        _LAKE_SESSION,
        _choice("variant", "the arm", words=Classification),
    ),
    _lake(
        LakeTable.VARIANT_VALUES,
        "a root session with a variant field, for each experiment that reads it",
        ("experiment_id", "session_id"),
        _EXPERIMENT,
        _LAKE_SESSION,
        _choice("value", "the arm that the payloads name; mixed: several values", words=ARM_VALUES),
    ),
)
LAKE_TABLES = dict(zip(LakeTable, _LAKE_TABLES, strict=True))
"""The tables of a lake by their names."""
