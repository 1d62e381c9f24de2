"""What the command line answers, as read-only tools with declared schemas.

What an agent is shown has left the machine. By default an answer holds only what an export or a shared report may hold,
and the finished text is searched once more; `full` shows names and texts as they are in the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import polars.selectors as cs

from kaizen_analytics.analysis import Analysis
from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.metrics import OUTCOMES, REGISTRY
from kaizen_analytics.core.times import DAY_MS, read_clock
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.exports.columns import TABLES, USAGE_KEYS, ColumnKind, Table, usage_table
from kaizen_analytics.exports.project import project
from kaizen_analytics.exports.tables import list_models, read_table
from kaizen_analytics.pages import conclusion, documents
from kaizen_analytics.pages import retro as retro_page
from kaizen_analytics.redact import collect_identities, open_redactor
from kaizen_analytics.reports.sharing import Share, prepare_share
from kaizen_analytics.retro.retro import DAYS, Retro, compute_retro, last_days
from kaizen_analytics.store import Store
from kaizen_analytics.usage import RESPONSES, Chosen, compute_total, compute_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaizen_analytics.experiments.evaluation import Evaluation

Document = dict[str, Any]
"""A JSON object."""

_SCHEMA_TYPES = {
    ColumnKind.COUNT: "integer",
    ColumnKind.MOMENT: "integer",
    ColumnKind.MEASURE: "number",
    ColumnKind.FLAG: "boolean",
}
_OUTCOME_COLUMNS = ("session", "started", *(metric.column for metric in REGISTRY if metric in OUTCOMES))


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the tools answer about one store. Each answer opens the store anew, read only, and gives a JSON document.

    What must not leave is read once and kept, so each answer needs its own instance. `root` restricts a retro to a
    repository, `timezone` says where days begin, `clock` what time it is (milliseconds since the Unix epoch). `full`
    shows names and texts.
    """

    store: Path
    root: Path | None = None
    timezone: str = "UTC"
    full: bool = False
    clock: Callable[[], int] = field(default=read_clock)

    @property
    def tools(self) -> dict[str, _Tool]:
        """The tools by their names."""
        return _list_tools(full=self.full)

    def usage(self, *, by: Sequence[str] = ("day",), days: int = 30) -> Document:
        """Return tokens and cost of the last days, by keys and in total."""
        with self._open() as opened:
            responses = Chosen(since_ms=self._days_ago(days)).read(RESPONSES, opened)
        frame = compute_usage(responses, by, timezone=self.timezone)
        total = compute_total(responses).to_dicts()[0]
        return {"timezone": self.timezone, "by": list(by), "usage": self._rows(usage_table(by), frame), "total": total}

    def sessions(self, *, days: int = 30, limit: int = 50) -> Document:
        """Return the newest sessions of the last days, newest first, sub-agents apart."""
        return {"sessions": self._newest("sessions", days, limit)}

    def outcomes(self, *, days: int = 30, limit: int = 50) -> Document:
        """Return what came of the newest sessions, as far as 'kaizen-analytics outcomes' has found it out."""
        rows = self._newest("metrics", days, limit)
        return {"outcomes": [{name: row[name] for name in _OUTCOME_COLUMNS} for row in rows]}

    def experiments(self) -> Document:
        """Return one row for each metric of each experiment, oldest first, with its decision and grade."""
        with self._open() as opened:
            raw = read_table(opened, "experiments", now_ms=self.clock())
        return {"experiments": self._rows(TABLES["experiments"](), raw, with_text=True)}

    def evaluate(self, *, experiment: str) -> Document:
        """Return the evaluation of one experiment now; of a concluded one as it was frozen."""
        return documents.evaluation_document(self._evaluation(experiment))

    def power(self, *, metric: str, target_pct: float = 0.0, days: int = 28) -> Document:
        """Return how many sessions and days an experiment needs whose arms are drawn by lot."""
        now = datetime.fromtimestamp(self.clock() / 1000, UTC)
        with self._open() as opened:
            table = Analysis(opened).power(metric, target_pct=target_pct, days=days, until=now)
        return documents.power_document(table)

    def retro(self, *, days: int = DAYS) -> Document:
        """Return what the sessions of the last whole days suggest to change. Nothing is stored."""
        return documents.retro_document(self._retro(days))

    def conclusion_page(self, experiment: str) -> str:
        """Return the evaluation of one experiment as Markdown."""
        found = self._evaluation(experiment)
        parts = (conclusion.heading, conclusion.decision, conclusion.trust, conclusion.effects)
        return "\n\n".join(part(found).markdown for part in parts)

    def retro_page(self) -> str:
        """Return the retro of the last days as Markdown."""
        return retro_page.whole(self._retro(DAYS)).markdown

    def check(self, name: str, text: str) -> str:
        """Return a finished answer that may be shown.

        Raises:
            RedactionError: something in it must not leave this machine.
        """
        if not self.full:
            self._share.refuse_leaks({name: text.encode()})
        return text

    def explain(self, error: KaizenError) -> str:
        """Return the message of an error as it may be shown."""
        return str(error) if self.full else open_redactor(collect_identities([Path.cwd()])).redact(str(error))

    @cached_property
    def _share(self) -> Share:
        return prepare_share([self.store])

    def _open(self) -> Store:
        return Store.open(self.store, read_only=True, ours=True)

    def _days_ago(self, days: int) -> int:
        return self.clock() - days * DAY_MS

    def _newest(self, name: str, days: int, limit: int) -> list[Document]:
        with self._open() as opened:
            raw = read_table(opened, name, now_ms=self.clock())
        return self._rows(TABLES[name](), raw.filter(pl.col("started") >= self._days_ago(days)).tail(limit).reverse())

    def _rows(self, table: Table, raw: pl.DataFrame, *, with_text: bool = False) -> list[Document]:
        """Return the declared columns of a frame, projected, unless everything is shown."""
        if self.full:
            return [json.loads(json.dumps(row, default=str)) for row in raw.to_dicts()]
        dated = raw.with_columns(cs.date().cast(pl.Datetime("ms")).dt.epoch("ms"))
        redactor = self._share.redactor
        listed = list_models(dated) if "model" in dated.columns else dated
        redact = redactor.redact if with_text else None
        return project(table, listed, redactor.pseudonyms, redact=redact).to_dicts()

    def _evaluation(self, experiment: str) -> Evaluation:
        with self._open() as opened:
            found = evaluate(opened, experiment, now_ms=self.clock())
        return found if self.full else self._share.project(found)

    def _retro(self, days: int) -> Retro:
        now_ms = self.clock()
        with self._open() as opened:
            found = compute_retro(
                opened,
                last_days(days, now_ms, self.timezone),
                now_ms=now_ms,
                repository=None if self.root is None else str(self.root),
                root=self.root,
                timezone=self.timezone,
            )
        return found if self.full else self._share.project(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tool:
    """One tool: what it takes and gives, as JSON schemas, and what answers it."""

    answer: Callable[..., Document]
    takes: Document
    gives: Document

    @property
    def description(self) -> str:
        """The first line of the answer's docstring, as an order."""
        return (self.answer.__doc__ or "").split("\n")[0]


def _list_tools(*, full: bool = False) -> dict[str, _Tool]:
    """Return the tools by their names; with `full`, rows have the columns of the store, which are not declared."""
    days = {"type": "integer", "minimum": 1, "maximum": 3660, "description": "How many of the last days count."}
    limit = {"type": "integer", "minimum": 1, "maximum": 1000, "description": "How many rows at most."}
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    metric = {"enum": [metric.column for metric in REGISTRY]}
    keys = {"enum": [*USAGE_KEYS]}
    by = {"type": "array", "items": keys, "minItems": 1, "maxItems": 2, "uniqueItems": True}
    metrics, some = TABLES["metrics"](), {"type": "object"}

    def rows(table: Table) -> Document:
        return _array(some if full else _row(table))

    outcomes = replace(metrics, columns=tuple(one for one in metrics.columns if one.name in _OUTCOME_COLUMNS))
    newest = _object({"days": days, "limit": limit})
    named = _object({"experiment": {**text, "description": "The experiment's id, or its start."}}, whole=True)
    planned = {**_object({"metric": metric, "target_pct": {"type": "number"}, "days": days}), "required": ["metric"]}
    used = _object({"timezone": text, "by": by, "usage": _array(some), "total": some}, whole=True)
    schemas = {
        "usage": (_object({"by": by, "days": days}), used),
        "sessions": (newest, _object({"sessions": rows(TABLES["sessions"]())}, whole=True)),
        "outcomes": (newest, _object({"outcomes": rows(outcomes)}, whole=True)),
        "experiments": (_object({}), _object({"experiments": rows(TABLES["experiments"]())}, whole=True)),
        "evaluate": (named, _document("experiment_id", decision="object", primary="object", guardrails="array")),
        "power": (planned, _document("sentence", window="object")),
        "retro": (
            _object({"days": days}),
            _document("timezone", totals="object", findings="array", experiments="array"),
        ),
    }
    return {
        name: _Tool(answer=getattr(Answers, name), takes=takes, gives=gives) for name, (takes, gives) in schemas.items()
    }


def _object(properties: Document, *, whole: bool = False) -> Document:
    """Return the schema of an object with no other properties; with `whole`, each is required."""
    required = {"required": [*properties]} if whole else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **required}


def _document(text: str, **parts: str) -> Document:
    """Return the schema of a document of the command line, by the parts that a reader needs."""
    types = {text: "string", **parts}
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in types.items()},
        "required": [*types],
    }


def _array(items: Document) -> Document:
    return {"type": "array", "items": items}


def _row(table: Table) -> Document:
    """Return the schema of one row of a table that may leave."""
    columns = {
        column.name: {
            "type": [_SCHEMA_TYPES.get(column.kind, "string"), "null"],
            "description": f"{column.meaning}{f' ({column.unit})' if column.unit else ''}",
        }
        for column in table.columns
    }
    return {"type": "object", "properties": columns}
