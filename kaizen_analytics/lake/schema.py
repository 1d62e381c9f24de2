"""The tables of a lake: one description from which projection, reading and documentation derive.

What is not listed here never leaves. Raise `VERSION` when a column or its meaning changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.experiments.plan import Cluster, PlanDesign
from kaizen_analytics.model import Classification, Direction, Metric, State
from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.projection import Column, ColumnKind, Projection, stand_in
from kaizen_analytics.redact.pseudonyms import Pseudonyms

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 1
"""Version of the layout and of every table; a lake holds one version."""

AGENTS = ("claude_code", "codex", "cursor")
KINDS = ("ToolCall", "ToolResult", "Message", "Error", "Hook", "Lifecycle")
ROLES = ("assistant", "user", "system")
VALUES = ("control", "treatment", "mixed")
BINDINGS = ("GitCommit", "Branch", "PromptFingerprint", "ManualTag")
CRITERIA = ("Delta", "Absolute")
CLUSTERS = tuple(item.value for item in Cluster)
DESIGNS = tuple(item.value for item in PlanDesign)
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

MODELS = (
    "claude-haiku-4-5",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-1",
    "claude-opus-4-1-20250805",
    "claude-opus-4-5",
    "claude-opus-4-5-20251101",
    "claude-opus-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    "claude-sonnet-4-20250514",
    "claude-sonnet-4-5",
    "claude-sonnet-4-5-20250929",
    "claude-sonnet-4-6",
    "claude-sonnet-5",
    "gpt-5",
    "gpt-5-codex",
    "gpt-5.1",
    "gpt-5.1-codex",
    "gpt-5.1-codex-max",
    "gpt-5.2",
    "gpt-5.2-codex",
    "gpt-5.3-codex",
    "gpt-5.3-codex-spark",
    "gpt-5.4",
    "gpt-5.5",
    "gpt-5.6-sol",
)
"""Public names of models, which leave as they are."""


class TableName(StrEnum):
    """The tables of a lake; the first three are divided by a hash of the session and by day."""

    SESSIONS = "sessions"
    EVENTS = "events"
    FILES_TOUCHED = "files_touched"
    EXPERIMENTS = "experiments"
    GUARDRAILS = "guardrails"
    SCOPES = "scopes"
    TAGS = "tags"
    VARIANT_VALUES = "variant_values"


PARTITIONED = (TableName.SESSIONS, TableName.EVENTS, TableName.FILES_TOUCHED)


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column that leaves, and what it means."""

    column: Column
    meaning: str


@dataclass(frozen=True, slots=True)
class LakeTable:
    """A table of the lake: its grain, its columns, and the projection that its rows pass."""

    name: TableName
    grain: str
    columns: tuple[LakeColumn, ...]
    projection: Projection


def _column(
    name: str,
    kind: ColumnKind,
    meaning: str,
    choices: Iterable[str] = (),
    category: Category = Category.USER,
) -> LakeColumn:
    return LakeColumn(Column(name=name, kind=kind, choices=frozenset(choices), category=category), meaning)


def _table(name: TableName, grain: str, *columns: LakeColumn) -> LakeTable:
    columns = (_column("source", ColumnKind.ID, "the store that exported the row"), *columns)
    projection = Projection(name=f"lake.{name}", version=VERSION, columns=tuple(item.column for item in columns))
    return LakeTable(name, grain, columns, projection)


_K = ColumnKind
_SESSION = _column("session_id", _K.ID, "the session")
_EXPERIMENT = _column("experiment_id", _K.ID, "the experiment")
_TOKENS = ("tokens_in", "tokens_out", "reasoning_tokens", "cache_creation_tokens", "cache_read_tokens")

_LISTED = (
    _table(
        TableName.SESSIONS,
        "one row per session and source",
        _column("id", _K.ID, "the session"),
        _column("agent", _K.WORD, "the agent", AGENTS),
        _column("model", _K.WORD, "the model; a name that is not public is a stand-in", MODELS),
        _column("workspace", _K.FOLDER, "where it ran"),
        _column("started_at_ms", _K.MOMENT, "its start"),
        _column("ended_at_ms", _K.MOMENT, "its end"),
        _column("parent_session_id", _K.ID, "the session that started it"),
        _column("branch", _K.WORD, "the branch"),
        _column("start_commit", _K.WORD, "the commit it started on"),
        _column("prompt_fingerprint", _K.WORD, "the instructions it ran under"),
        _column("is_dirty", _K.FLAG, "the working tree had changes at the start"),
        _column("is_inferred", _K.FLAG, "branch and commit were inferred from the repository's history"),
        _column("is_foreign", _K.FLAG, "another tool added events to ours"),
        _column("user_name", _K.PSEUDONYM, "who ran it"),
        _column(
            "organisation", _K.PSEUDONYM, "the owner of the workspace's repository", category=Category.ORGANISATION
        ),
        _column("events", _K.COUNT, "how many events it has; of two exports of a session the longer one counts"),
    ),
    _table(
        TableName.EVENTS,
        "one row per event and source",
        _SESSION,
        _column("seq", _K.COUNT, "its place in the session"),
        _column("ts_ms", _K.MOMENT, "when it happened"),
        _column("ts_exact", _K.COUNT, "1: by the transcript's own clock"),
        _column("kind", _K.CHOICE, "what happened", KINDS),
        _column("tool", _K.WORD, "the tool, always a stand-in"),
        *(_column(name, _K.COUNT, name.replace("_", " ")) for name in _TOKENS),
        _column("cost_usd_e6", _K.COUNT, "cost in millionths of a dollar"),
        _column("message_role", _K.CHOICE, "whose message", ROLES),
        _column("is_prompt", _K.COUNT, "1: somebody typed it"),
        _column("is_unreliable", _K.COUNT, "1: token counts are not final"),
        _column("is_error", _K.COUNT, "1: the tool failed"),
    ),
    _table(
        TableName.FILES_TOUCHED,
        "one row per session, file and source",
        _SESSION,
        _column("path", _K.WORD, "the file, by a stand-in that differs from one root session to the next"),
    ),
    _table(
        TableName.EXPERIMENTS,
        "one row per started experiment and source; the rule is the one frozen at the start",
        _EXPERIMENT,
        _column("state", _K.CHOICE, "its state", [item.value for item in State]),
        _column("metric", _K.CHOICE, "what is measured", [item.value for item in Metric]),
        _column("binding", _K.CHOICE, "what tells the arms apart", BINDINGS),
        _column("control", _K.WORD, "the control arm's branch, fingerprint or commit"),
        _column("treatment", _K.WORD, "the treatment arm's"),
        _column("has_variant_field", _K.FLAG, "arms come from a key in the payload of events"),
        _column("criterion", _K.CHOICE, "the kind of success criterion", CRITERIA),
        _column("direction", _K.CHOICE, "the direction of a change", [item.value for item in Direction]),
        _column("target", _K.MEASURE, "the percent change, or the value to reach"),
        _column("duration_days", _K.COUNT, "days to collect"),
        _column("created_at_ms", _K.MOMENT, "when it was planned"),
        _column("concluded_at_ms", _K.MOMENT, "when it was concluded"),
        _column("alpha", _K.MEASURE, "error level"),
        _column("margin_pct", _K.MEASURE, "equivalence margin"),
        _column("cluster", _K.CHOICE, "whose sessions resemble each other", CLUSTERS),
        _column("design", _K.CHOICE, "how often the data may be looked at", DESIGNS),
        _column("planned_n", _K.COUNT, "planned sessions per arm"),
        _column("planned_control_n", _K.COUNT, "planned sessions of the control arm"),
        _column("lookback_days", _K.COUNT, "days before the start that count"),
        _column("control_share", _K.MEASURE, "declared share of the control arm"),
        _column("design_effect", _K.MEASURE, "sessions of a cluster that were expected to be worth an independent one"),
        _column("started_at_ms", _K.MOMENT, "when it was started"),
        _column("window_start_ms", _K.MOMENT, "first session start that counts"),
        _column("window_end_ms", _K.MOMENT, "last session start that counts"),
        _column("control_ref", _K.WORD, "the frozen commit of the control arm"),
        _column("treatment_ref", _K.WORD, "the frozen commit of the treatment arm"),
        _column("is_retrospective", _K.FLAG, "started in the past"),
        _column("is_adopted", _K.FLAG, "started by another tool"),
    ),
    _table(
        TableName.GUARDRAILS,
        "one row per guardrail and source",
        _EXPERIMENT,
        _column("position", _K.COUNT, "its place in the experiment's list"),
        _column("metric", _K.CHOICE, "what must not move", [item.value for item in Metric]),
        _column("regression_direction", _K.CHOICE, "the feared direction", [item.value for item in Direction]),
        _column("threshold_pct", _K.MEASURE, "by how many percent"),
    ),
    _table(
        TableName.SCOPES,
        "one row per planned workspace and source",
        _EXPERIMENT,
        _column("workspace", _K.FOLDER, "a workspace whose sessions count, with all below it"),
    ),
    _table(
        TableName.TAGS,
        "one row per tag and source",
        _EXPERIMENT,
        _SESSION,
        _column("variant", _K.CHOICE, "the arm", [item.value for item in Classification]),
    ),
    _table(
        TableName.VARIANT_VALUES,
        "one row per experiment with a variant field, root session that has one, and source",
        _EXPERIMENT,
        _SESSION,
        _column("value", _K.CHOICE, "the arm that the payloads name; mixed: several values", VALUES),
    ),
)

TABLES = {table.name: table for table in _LISTED}


def name_workspace(path: str, key: bytes) -> str:
    """Return what a workspace is called in a lake under this key."""
    [column] = [item.column for item in TABLES[TableName.SESSIONS].columns if item.column.name == "workspace"]
    return stand_in(column, path, Pseudonyms(key))


def render_markdown() -> str:
    """Return the tables as docs/scale.md shows them."""
    lines = []
    for table in _LISTED:
        lines += [f"**{table.name}**: {table.grain}", "", "| column | leaves as | holds |", "| --- | --- | --- |"]
        lines += [f"| `{item.column.name}` | {_describe(item.column)} | {item.meaning} |" for item in table.columns]
        lines.append("")
    return "\n".join(lines)


def _describe(column: Column) -> str:
    words = ", ".join(sorted(column.choices))
    match column.kind:
        case ColumnKind.CHOICE:
            return f"one of {words}; else other" if len(column.choices) <= _SHOWN_WORDS else "a declared word"
        case ColumnKind.WORD:
            return "a declared word, else a stand-in" if words else "stand-in"
        case ColumnKind.FOLDER:
            return "stand-in of each part of the path"
        case ColumnKind.ID | ColumnKind.PSEUDONYM:
            return "stand-in"
        case ColumnKind.MOMENT:
            return "milliseconds since 1970"
        case kind:
            return kind.value


_SHOWN_WORDS = 8
