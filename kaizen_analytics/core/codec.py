"""Dataclasses as JSON and back: one codec for everything that is stored or printed.

    store(value)          plain JSON types that `load` reads back to the digit; infinite numbers become text
    plain(value)          the same to be printed: numbers that JSON lacks are null
    load(kind, record)    the value that `store` wrote; fields that are unknown or were dropped since are ignored
    write(value)          `store` as compact text
    read(kind, text)      `load` from text

Fields that take no part in a comparison are left out. An `Experiment` has the JSON of kaizen-cli, Rust's serde encoding
of variants, and keeps the fields that this version does not know.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import fields, is_dataclass, replace
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from kaizen_analytics.core.errors import KaizenError, RecordError, did_you_mean
from kaizen_analytics.core.model import Binding, Criterion, Experiment

if TYPE_CHECKING:
    from collections.abc import Callable

    from cattrs import Converter

_T = TypeVar("_T")

_VARIANTS: dict[Any, tuple[type, ...]] = {union: get_args(union) for union in (Binding, Criterion)}
"""Unions whose members are written under their names, as Rust's serde does."""
_NESTED = ("binding", "success_criterion", "guardrails")


def store(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as plain JSON types that `load` reads back.

    >>> from kaizen_analytics.core import codec
    >>> from kaizen_analytics.stats import Interval
    >>> codec.store(Interval(estimate=1.0, low=0.5, high=float("inf")))
    {'estimate': 1.0, 'low': 0.5, 'high': 'inf'}
    """
    return _stored().unstructure(value)


def plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value as plain JSON types to be printed: a number that JSON lacks is null.

    >>> from kaizen_analytics.stats import Interval
    >>> plain(Interval(estimate=1.0, low=0.5, high=float("inf")))
    {'estimate': 1.0, 'low': 0.5, 'high': None}
    """
    return _printed().unstructure(value)


def load(kind: type[_T], record: object, what: str = "The record") -> _T:
    """Return the value of type `kind` that `store` wrote as `record`.

    Args:
        record: Plain JSON types.

    Raises:
        RecordError: a field is missing, or has a value of another type or beyond its limits; the message names it.

    >>> from kaizen_analytics.core.model import Absolute
    >>> load(Absolute, {"metric_value": 5})
    Absolute(metric_value=5.0)
    >>> load(Absolute, {})
    Traceback (most recent call last):
    kaizen_analytics.core.errors.RecordError: The record cannot be read: metric_value is missing.
    """
    from cattrs import BaseValidationError

    try:
        return _stored().structure(record, kind)
    except (BaseValidationError, KaizenError, ValueError) as error:
        raise RecordError(f"{what} cannot be read: {_describe(error)}") from error


def write(value: object) -> str:
    """Return `store` as compact JSON text.

    >>> from kaizen_analytics.core.model import Absolute
    >>> write(Absolute(metric_value=5.0))
    '{"metric_value":5.0}'
    """
    return json.dumps(store(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read(kind: type[_T], text: str | bytes, what: str = "The record") -> _T:
    """Return `load` of JSON text.

    Raises:
        RecordError: the text is not JSON, or as for `load`.

    >>> from kaizen_analytics.core.model import Absolute
    >>> read(Absolute, '{"metric_value": 5}').metric_value
    5.0
    """
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{what} is not valid JSON: {error}.") from error
    return load(kind, record, what)


def _describe(error: BaseException, place: str = "") -> str:
    """Return the first problem of a record with the place of its field."""
    from cattrs import AttributeValidationNote, BaseValidationError, IterableValidationNote

    if not isinstance(error, BaseValidationError):
        if isinstance(error, KeyError):
            return f"{place} is missing."
        return f"{place}: {error}" if place and isinstance(error, KaizenError) else f"{place or 'it'} {error}"
    inner = error.exceptions[0]
    for note in getattr(inner, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return _describe(inner, f"{place}.{note.name}".removeprefix("."))
        if isinstance(note, IterableValidationNote):
            return _describe(inner, f"{place}[{note.index}]")
    return _describe(inner, place)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _expected(value: object, expected: str) -> ValueError:
    return ValueError(f"is {value!r}; expected {expected}.")


def _exactly(kind: type, expected: str) -> Callable[[object, object], object]:
    """Return the hook that reads values of one type as they are; a truth value is no whole number."""

    def read_exactly(value: object, _: object) -> object:
        if type(value) is not kind:
            raise _expected(value, expected)
        return value

    return read_exactly


def _read_float(value: Any, _: object) -> float:  # noqa: ANN401 - any JSON value
    if value in ("inf", "-inf", "nan"):
        return float(value)
    if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
        raise _expected(value, "a finite number")
    return float(value)


def _read_member(value: object, kind: type[StrEnum]) -> StrEnum:
    names = [member.value for member in kind]
    if value not in names:
        hint = did_you_mean(value, names) if isinstance(value, str) else ""
        raise ValueError(f"is {value!r}; expected one of {', '.join(names)}.{hint}")
    return kind(value)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _expected(value, "a JSON object")
    return value


def _write_variant(value: Binding | Criterion) -> dict[str, Any]:
    return {type(value).__name__: store(value)}


def _read_variant(value: object, union: Any) -> Any:  # noqa: ANN401 - any of the variants
    record = _object(value)
    kinds = {kind.__name__: kind for kind in _VARIANTS[union]}
    if len(record) != 1 or not set(record) <= set(kinds):
        raise _expected(value, f"an object with one of {', '.join(kinds)}")
    [(name, body)] = record.items()
    return _stored().structure(body, kinds[name])


def _hidden_fields(kind: type) -> dict[str, Any]:
    from cattrs import override

    return {field.name: override(omit=True) for field in fields(kind) if not field.compare}


def _is_tuple(kind: object) -> bool:
    return get_origin(kind) is tuple


def _read_items(value: object, kind: Any) -> tuple[Any, ...]:  # noqa: ANN401 - any tuple type
    if not isinstance(value, list | tuple):
        raise _expected(value, "a list")
    return tuple(_stored().structure(value, list[get_args(kind)[0]]))  # type: ignore[misc,arg-type] # a type at run time


def _make_converter(write_float: Callable[[float], object]) -> Converter:
    from cattrs import Converter, override
    from cattrs.cols import is_namedtuple, namedtuple_dict_unstructure_factory
    from cattrs.gen import make_dict_unstructure_fn

    converter = Converter()
    converter.register_unstructure_hook_factory(
        is_namedtuple, lambda kind: namedtuple_dict_unstructure_factory(kind, converter)
    )
    converter.register_unstructure_hook(float, write_float)
    converter.register_unstructure_hook_factory(
        is_dataclass, lambda kind: make_dict_unstructure_fn(kind, converter, **_hidden_fields(kind))
    )
    converter.register_unstructure_hook_func(_VARIANTS.__contains__, _write_variant)
    # Experiments, whose JSON kaizen-cli reads and writes too.
    write_known = make_dict_unstructure_fn(Experiment, converter, extra=override(omit=True))
    converter.register_unstructure_hook(Experiment, partial(_write_experiment, write_known))
    return converter


@cache
def _printed() -> Converter:
    return _make_converter(lambda number: number if math.isfinite(number) else None)


@cache
def _stored() -> Converter:
    from cattrs import override
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn
    from cattrs.strategies import configure_union_passthrough

    converter = _make_converter(lambda number: number if math.isfinite(number) else str(number))

    def reading(kind: type) -> Callable[[object, object], Any]:
        build: Callable[[dict[str, Any], type], Any] = make_dict_structure_fn(kind, converter, **_hidden_fields(kind))
        return lambda value, _: build(_object(value), kind)

    configure_union_passthrough(str | int | float | None, converter)
    converter.register_structure_hook_factory(is_dataclass, reading)
    converter.register_structure_hook_func(_is_tuple, _read_items)
    converter.register_structure_hook(StrEnum, _read_member)
    converter.register_structure_hook_func(_VARIANTS.__contains__, _read_variant)
    converter.register_structure_hook(float, _read_float)
    for kind, expectation in ((int, "a whole number"), (str, "text"), (bool, "true or false")):
        converter.register_structure_hook(kind, _exactly(kind, expectation))
    read_known = make_dict_structure_fn(Experiment, converter, extra=override(omit=True))
    write_known = make_dict_unstructure_fn(Experiment, converter, extra=override(omit=True))
    converter.register_structure_hook(Experiment, partial(_read_experiment, read_known, write_known))
    return converter


def _write_experiment(write_known: Callable[[Experiment], dict[str, Any]], experiment: Experiment) -> dict[str, Any]:
    record = write_known(experiment)
    for name, unknown in experiment.extra.items():
        if name in record:
            for key, body in _bodies(record[name]):
                body.update(unknown.get(key, {}))
        else:
            record[name] = unknown
    return record


def _read_experiment(
    read_known: Callable[[dict[str, Any], type[Experiment]], Experiment],
    write_known: Callable[[Experiment], dict[str, Any]],
    value: object,
    _: object,
) -> Experiment:
    record = {name: item for name, item in _object(value).items() if name != "guardrails" or item is not None}
    experiment = read_known(record, Experiment)
    unknown = _unknown(record, write_known(experiment))
    return replace(experiment, extra=MappingProxyType(unknown)) if unknown else experiment


def _bodies(value: Any) -> list[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - a tagged object or a list of guardrails
    """Return the objects inside a nested field, each under a name that outlives a change of the others."""
    if isinstance(value, dict):
        return list(value.items())
    return [(f"{body['metric']} {body['regression_direction']}", body) for body in value or ()]


def _unknown(given: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored record that `ours`, the same experiment as we write it, does not have."""
    unknown: dict[str, Any] = {name: value for name, value in given.items() if name not in ours}
    for name in _NESTED:
        known = dict(_bodies(ours[name]))
        inner = {key: {n: v for n, v in body.items() if n not in known[key]} for key, body in _bodies(given.get(name))}
        if any(inner.values()):
            unknown[name] = {key: body for key, body in inner.items() if body}
    return unknown
