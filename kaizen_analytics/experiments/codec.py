"""Evaluations as JSON and back, every digit the same: how a conclusion is frozen.

The encoding follows the fields of the dataclasses. What JSON lacks (infinite ends of intervals) becomes text, and
fields that do not take part in a comparison (the law behind an effect) are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.model import Experiment

FORMAT = 1
"""Version of the encoding; a frozen evaluation names the one it was written in."""

T = TypeVar("T")


def freeze_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as a JSON object that `thaw_evaluation` reads back."""
    return {"format": FORMAT, "evaluation": encode(evaluation)}


def thaw_evaluation(record: Mapping[str, Any]) -> Evaluation:
    """Return the frozen evaluation; it equals the one that was frozen.

    Raises:
        ExperimentError: it was frozen by a newer version, or its record is damaged.
    """
    if record.get("format") != FORMAT:
        raise ExperimentError(
            f"The frozen evaluation has format {record.get('format')!r}; this version reads {FORMAT}. "
            "Upgrade kaizen_analytics to read it.",
        )
    try:
        return decode(Evaluation, record["evaluation"])
    except (KeyError, TypeError, ValueError) as error:
        raise ExperimentError(f"The frozen evaluation is damaged: {error!r}.") from error


def encode(value: object) -> object:  # noqa: PLR0911 - one line for each shape
    """Return a value as plain JSON types."""
    if isinstance(value, Experiment):
        return json.loads(value.to_json())
    if isinstance(value, Plan):
        return value.to_json()
    if isinstance(value, StrEnum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value) if field.compare}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def decode(kind: type[T], record: Any) -> T:  # noqa: ANN401 - any JSON value
    """Return the value of type `kind` that `encode` wrote as `record`."""
    decoded: T = _decode(kind, record)
    return decoded


def _decode(kind: Any, record: Any) -> Any:  # noqa: ANN401, PLR0911 - one line for each shape
    if kind is Experiment:
        return Experiment.from_json(json.dumps(record))
    if kind is Plan:
        return Plan.from_json(record)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _decode_union(get_args(kind), record)
    if origin is tuple:
        return tuple(_decode(get_args(kind)[0], item) for item in record)
    if origin is Mapping:
        return {key: _decode(get_args(kind)[1], item) for key, item in record.items()}
    if isinstance(kind, type) and is_dataclass(kind):
        return _decode_fields(kind, record)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(record)
    return float(record) if kind is float else record


def _decode_union(kinds: tuple[Any, ...], record: Any) -> Any:  # noqa: ANN401
    present = [kind for kind in kinds if kind is not NoneType]
    return None if record is None else record if len(present) > 1 else _decode(present[0], record)


def _decode_fields(kind: type[Any], record: Mapping[str, Any]) -> object:
    hints = get_type_hints(kind)
    return kind(
        **{field.name: _decode(hints[field.name], record[field.name]) for field in fields(kind) if field.compare}
    )
