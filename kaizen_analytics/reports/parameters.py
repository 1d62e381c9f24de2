"""Parameters of a notebook: declared with types in its cell tagged `parameters`, checked before a kernel starts.

A declaration is a line such as `experiment_id: str = ""  # required: id of the experiment`. papermill alone would
warn about an unknown name and go on with the default, and would turn the text 007 into the number 7.
"""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError, ReportError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Value = str | int | float | bool
"""What a parameter can be: exactly these types, because papermill writes parameters into code."""

_REQUIRED = "required:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One declared parameter of a notebook."""

    name: str
    kind: type[Value]
    default: Value
    required: bool
    help: str

    def describe(self) -> str:
        """Return one line for help pages and error messages."""
        need = "required" if self.required else f"default {self.default!r}"
        return f"{self.name} ({self.kind.__name__}, {need})"


def read_parameters(notebook: Any, name: str) -> dict[str, Parameter]:  # noqa: ANN401 - nbformat has no types
    """Return the parameters that a notebook declares, by name.

    Args:
        notebook: An nbformat notebook.
        name: The report's name, for messages.

    Raises:
        ReportError: a declaration lacks a type, or its default is not a plain value of that type.

    >>> from kaizen_analytics.reports.catalogue import load_report
    >>> read_parameters(load_report("portfolio").notebook(), "portfolio")["store"].required
    True
    """
    from papermill import inspect_notebook

    return {key: _parameter(found, name) for key, found in inspect_notebook(notebook).items()}


def parse_parameters(declared: Mapping[str, Parameter], given: Mapping[str, str], report: str) -> dict[str, Value]:
    """Return texts from a command line or a file as values of the declared types.

    Raises:
        ConfigError: an unknown name, or a text that is not of the declared type.

    >>> weeks = Parameter(name="weeks", kind=int, default=4, required=False, help="")
    >>> parse_parameters({"weeks": weeks}, {"weeks": "8"}, "costs")
    {'weeks': 8}
    """
    return {key: _parse(_known(declared, key, report), text) for key, text in given.items()}


def check_parameters(declared: Mapping[str, Parameter], given: Mapping[str, object], report: str) -> dict[str, Value]:
    """Return every declared parameter with its value, given or default, in the order of the declaration.

    Raises:
        ConfigError: an unknown name, a value of another type, or a required parameter without a value.

    >>> weeks = Parameter(name="weeks", kind=int, default=4, required=False, help="")
    >>> check_parameters({"weeks": weeks}, {}, "costs")
    {'weeks': 4}
    """
    values = {key: _check(_known(declared, key, report), value) for key, value in given.items()}
    for parameter in declared.values():
        if parameter.required and values.get(parameter.name, "") == "":
            raise ConfigError(f"Report {report!r} needs the parameter {parameter.name}: {parameter.help}.")
    return {key: values.get(key, parameter.default) for key, parameter in declared.items()}


def _parameter(found: Mapping[str, str], report: str) -> Parameter:
    name, text = found["name"], found["help"]
    kind = _KINDS.get(found["inferred_type_name"])
    if kind is None:
        raise ReportError(
            f"Report {report!r} declares {name} with the type {found['inferred_type_name']}; expected one of "
            f"{', '.join(_KINDS)}, as in '{name}: str = \"\"'.",
        )
    return Parameter(
        name=name,
        kind=kind,
        default=_default(found["default"], kind, name, report),
        required=text.startswith(_REQUIRED),
        help=text.removeprefix(_REQUIRED).strip(),
    )


def _default(source: str, kind: type[Value], name: str, report: str) -> Value:
    try:
        value: Value = ast.literal_eval(source)
    except (ValueError, SyntaxError) as error:
        raise ReportError(f"Report {report!r} gives {name} the default {source}; expected a plain value.") from error
    if type(value) is not kind:
        raise ReportError(f"Report {report!r} gives {name} the default {source}; expected a {kind.__name__}.")
    return value


def _known(declared: Mapping[str, Parameter], key: str, report: str) -> Parameter:
    if key in declared:
        return declared[key]
    takes = ", ".join(parameter.describe() for parameter in declared.values()) or "no parameters"
    raise ConfigError(f"Report {report!r} has no parameter {key!r}.{did_you_mean(key, declared)} It takes: {takes}.")


def _check(parameter: Parameter, value: object) -> Value:
    checked: Value | None = None
    if isinstance(value, str | int | float | bool) and type(value) is parameter.kind:
        checked = value
    elif type(value) is int and parameter.kind is float:
        checked = float(value)
    if checked is None:
        raise ConfigError(
            f"Parameter {parameter.name} is {value!r} ({type(value).__name__}); expected {_NAMES[parameter.kind]}.",
        )
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"Parameter {parameter.name} is {checked}; expected a finite number.")
    return checked


def _parse(parameter: Parameter, text: str) -> Value:
    try:
        return _KINDS_FROM_TEXT[parameter.kind](text)
    except (ValueError, KeyError):
        raise ConfigError(f"Parameter {parameter.name} is {text!r}; expected {_NAMES[parameter.kind]}.") from None


_KINDS: dict[str, type[Value]] = {"str": str, "int": int, "float": float, "bool": bool}
_NAMES: dict[type[Value], str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_KINDS_FROM_TEXT: dict[type[Value], Callable[[str], Value]] = {
    str: str,
    int: int,
    float: float,
    bool: lambda text: {"true": True, "false": False}[text.lower()],
}
