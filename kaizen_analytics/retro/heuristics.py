"""Heuristics: one SQL file each, with everything that is known about it in the header.

A header line is `-- key: value`; a value goes on over lines that begin with `--   `, joined by a blank, or by nothing
after the `|` of a pattern. A threshold is
`-- threshold: name = default (what it means)` and stands in the query as `$name`. The rows of a heuristic are bets;
see `BET_SCHEMA` for what each must say.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import ConfigError, QueryError, did_you_mean
from kaizen_analytics.metrics import parse_metric
from kaizen_analytics.queries import Query, Reader, Schema, find_parameters, load_sql
from kaizen_analytics.resources import find_folder
from kaizen_analytics.retro.relations import missing_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.model import Metric

Threshold = int | float | str


class Confidence(StrEnum):
    """How often a bet of this kind turned out to be right."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def weight(self) -> float:
        """The factor on the expected saving when bets are ranked."""
        return {"high": 1.0, "medium": 0.6, "low": 0.3}[self.value]


class Category(StrEnum):
    """What kind of work a bet asks for."""

    QUICK_WIN = "quick win"
    INVESTIGATION = "investigation"
    HYGIENE = "hygiene"


class Basis(StrEnum):
    """Where an expected saving comes from."""

    MEASURED = "measured"
    """Tokens that the window's own events counted."""
    ESTIMATE = "estimate"
    """A count of events times a flat number of tokens."""


BET_SCHEMA: Schema = {
    "bet_key": pl.String(),
    "title": pl.String(),
    "hypothesis": pl.String(),
    "apply_step": pl.String(),
    "evidence": pl.List(pl.String()),
    "occurrences": pl.Int64(),
    "tokens_saved_per_week": pl.Float64(),
}
"""The columns of every heuristic. `evidence` are session ids, `occurrences` counts what the title speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSpec:
    """A named limit of a heuristic, with its default and what it means."""

    name: str
    default: Threshold
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heuristic:
    """One file of `sql/retro/`, by its header. `metric` is what an experiment on such a bet should measure."""

    id: str
    name: str
    confidence: Confidence
    category: Category
    effort_minutes: int
    basis: Basis
    metric: Metric
    fires: str
    saving: str
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    thresholds: Mapping[str, ThresholdSpec] = field(default_factory=dict)
    path: str

    @property
    def number(self) -> int:
        """The number in the id, for sorting."""
        return int(self.id.removeprefix("H"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one heuristic said: bets, nothing (`rows` is empty), or why it could not be asked (`missing`)."""

    heuristic: Heuristic
    rows: pl.DataFrame
    missing: tuple[str, ...] = ()

    @property
    def evaluated(self) -> bool:
        """Whether the heuristic's inputs were there."""
        return not self.missing

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.evaluated:
            return f"not evaluated: needs {', '.join(self.missing)}"
        count = self.rows.height
        return "nothing found" if count == 0 else f"{count} {'bet' if count == 1 else 'bets'}"


def load_heuristics() -> tuple[Heuristic, ...]:
    """Return every heuristic of `sql/retro/`, in the order of their numbers.

    Raises:
        QueryError: a header is incomplete or wrong, or an id appears twice.
    """
    files = sorted((find_folder("sql") / "retro").glob("h*.sql"))
    found = [parse_heuristic(f"retro/{file.name}", load_sql(f"retro/{file.name}")) for file in files]
    ids = [heuristic.id for heuristic in found]
    twice = sorted({one for one in ids if ids.count(one) > 1})
    if twice:
        raise QueryError(f"sql/retro has more than one file for {', '.join(twice)}.")
    return tuple(sorted(found, key=lambda heuristic: heuristic.number))


_LINE = re.compile(r"--\s(?P<key>[a-z_]+): (?P<value>.+)")
_CONTINUED = re.compile(r"--\s{3,}(?P<value>.+)")
_THRESHOLD = re.compile(r"(?P<name>[a-z_][a-z0-9_]*) = (?P<default>.+?) \((?P<meaning>.+)\)")
_KEYS = frozenset(
    {"id", "name", "confidence", "category", "effort_minutes", "basis", "metric", "purpose", "saving", "needs"}
)
_BUILT_IN = frozenset({"per_week", "window_start_ms", "window_end_ms"})


def parse_heuristic(path: str, sql: str) -> Heuristic:
    """Read a heuristic's header.

    Raises:
        QueryError: a key is missing or has an unknown value, or thresholds and parameters do not match.
    """
    header = _header(sql)
    missing = sorted(_KEYS - header.keys())
    if missing:
        raise QueryError(f"sql/{path}: the header lacks {', '.join(missing)}.")
    thresholds = {spec.name: spec for spec in (_threshold(path, text) for text in header.get("threshold", []))}
    _check_parameters(path, sql, frozenset(thresholds))
    try:
        return Heuristic(
            id=header["id"][0],
            name=header["name"][0],
            confidence=Confidence(header["confidence"][0]),
            category=Category(header["category"][0]),
            effort_minutes=int(header["effort_minutes"][0]),
            basis=Basis(header["basis"][0]),
            metric=parse_metric(header["metric"][0]),
            fires=header["purpose"][0],
            saving=header["saving"][0],
            needs=_names(header["needs"][0]),
            uses=_names(header["uses"][0]) if "uses" in header else (),
            thresholds=thresholds,
            path=path,
        )
    except ValueError as error:
        raise QueryError(f"sql/{path}: {error}.") from error


def _header(sql: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    key = ""
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        if match := _LINE.fullmatch(line):
            key = match["key"]
            found.setdefault(key, []).append(match["value"].strip())
        elif key and (match := _CONTINUED.fullmatch(line)):
            glue = "" if found[key][-1].endswith("|") else " "
            found[key][-1] += f"{glue}{match['value'].strip()}"
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _threshold(path: str, text: str) -> ThresholdSpec:
    match = _THRESHOLD.fullmatch(text)
    if match is None:
        raise QueryError(f"sql/{path}: threshold {text!r} is not of the form 'name = default (meaning)'.")
    try:
        default = tomllib.loads(f"value = {match['default']}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise QueryError(f"sql/{path}: the default of {match['name']} is not a TOML value: {error}.") from error
    return ThresholdSpec(name=match["name"], default=default, meaning=match["meaning"])


def _check_parameters(path: str, sql: str, thresholds: frozenset[str]) -> None:
    used = find_parameters(sql) - _BUILT_IN
    if used != thresholds:
        raise QueryError(
            f"sql/{path}: thresholds and parameters differ in {', '.join(sorted(used ^ thresholds))}; "
            "declare each parameter with a '-- threshold:' line.",
        )


Thresholds = dict[str, dict[str, Threshold]]
"""Changed thresholds: heuristic id -> name -> value."""


def read_thresholds(file: Path) -> Thresholds:
    """Read changed thresholds from a TOML file: a table for each heuristic, `[H3]`, then `min_touches = 8`.

    Raises:
        ConfigError: the file cannot be read, or names an unknown heuristic or threshold, or a value of a wrong type.
    """
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"Cannot read thresholds from {file}: {error}.") from error
    by_id = {heuristic.id: heuristic for heuristic in load_heuristics()}
    for name, table in document.items():
        _check_table(file, by_id, name, table)
    return document


def _check_table(file: Path, by_id: Mapping[str, Heuristic], name: str, table: object) -> None:
    if name not in by_id:
        raise ConfigError(f"{file}: there is no heuristic {name!r}.{did_you_mean(name, by_id)}")
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {name} is {table!r}; expected a table [{name}] with its thresholds.")
    for threshold, value in table.items():
        spec = by_id[name].thresholds.get(threshold)
        if spec is None:
            known = by_id[name].thresholds
            raise ConfigError(
                f"{file}: {name} has no threshold {threshold!r}; it has {', '.join(known) or 'none'}."
                f"{did_you_mean(threshold, known)}",
            )
        if not _same_type(value, spec.default):
            raise ConfigError(
                f"{file}: {name}.{threshold} is {value!r}; expected a {_type_name(spec.default)} "
                f"like the default {spec.default!r}.",
            )


def _same_type(value: object, default: Threshold) -> bool:
    if isinstance(default, str):
        return isinstance(value, str)
    allowed = int if isinstance(default, int) else (int, float)
    return isinstance(value, allowed) and not isinstance(value, bool)


def _type_name(default: Threshold) -> str:
    if isinstance(default, str):
        return "text"
    return "whole number" if isinstance(default, int) else "number"


def evaluate_heuristic(
    heuristic: Heuristic,
    reader: Reader,
    relations: Mapping[str, pl.DataFrame],
    *,
    thresholds: Mapping[str, Threshold],
    built_in: Mapping[str, Threshold],
) -> Finding:
    """Ask one heuristic; a missing input is an answer of its own.

    Args:
        heuristic: The heuristic.
        reader: Where its relations can be read.
        relations: The same relations as frames, to tell which inputs are there.
        thresholds: Changed thresholds of this heuristic.
        built_in: Values of `per_week`, `window_start_ms` and `window_end_ms`.

    Raises:
        QueryError: the query fails or returns other columns than `BET_SCHEMA`.
    """
    missing = missing_inputs(heuristic.needs, relations)
    if missing:
        return Finding(heuristic=heuristic, rows=pl.DataFrame(schema=BET_SCHEMA), missing=tuple(missing))
    query = Query(path=heuristic.path, schema=BET_SCHEMA)
    values = {name: spec.default for name, spec in heuristic.thresholds.items()} | dict(thresholds)
    values |= {name: built_in[name] for name in find_parameters(query.text()) & _BUILT_IN}
    return Finding(heuristic=heuristic, rows=query.run(reader, **values))
