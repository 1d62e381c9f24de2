"""Declared parameters: read from the notebook, checked before anything starts."""

from __future__ import annotations

import nbformat
import pytest

from kaizen_analytics.core.errors import ConfigError, ReportError
from kaizen_analytics.reports.catalogue import _read_parameters, check_parameters, parse_parameters


def declare(source: str) -> dict[str, object]:
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})]
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return _read_parameters(notebook, "sample")


ALL = 'id: str = ""  # required: the id\ncount: int = 3\nshare: float = 0.5\nflag: bool = False  # a switch'


def test_declarations_have_a_type_a_default_and_a_help() -> None:
    declared = declare(ALL)
    assert [parameter.describe() for parameter in declared.values()] == [
        "id (str, required)",
        "count (int, default 3)",
        "share (float, default 0.5)",
        "flag (bool, default False)",
    ]
    assert (declared["id"].help, declared["flag"].help) == ("the id", "a switch")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("count = 3", "declares count with the type None"),
        ("count: list = []", "declares count with the type list"),
        ("count: int = 3.5", "default 3.5; expected a int"),
        ("count: int = open('x')", "expected a plain value"),
        ("flag: bool = 1", "expected a bool"),
    ],
)
def test_declarations_that_are_refused(source: str, message: str) -> None:
    with pytest.raises(ReportError, match=message.replace("(", r"\(").replace(")", r"\)")):
        declare(source)


def test_texts_become_values_of_the_declared_type() -> None:
    declared = declare(ALL)
    given = {"id": "007", "count": "7", "share": "2", "flag": "true"}
    assert parse_parameters(declared, given, "sample") == {"id": "007", "count": 7, "share": 2.0, "flag": True}


@pytest.mark.parametrize(("name", "text"), [("count", "7.5"), ("count", ""), ("share", "half"), ("flag", "yes")])
def test_texts_of_another_type_are_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"Parameter {name} is {text!r}; expected"):
        parse_parameters(declare(ALL), {name: text}, "sample")


def test_missing_values_are_the_defaults() -> None:
    values = check_parameters(declare(ALL), {"id": "e", "share": 1}, "sample")
    assert values == {"id": "e", "count": 3, "share": 1.0, "flag": False}
    assert type(values["share"]) is float


class Text(str):
    """A subclass could bring its own code into the notebook."""

    __slots__ = ()


@pytest.mark.parametrize(
    "given",
    [
        {"count": True},
        {"count": "7"},
        {"id": None},
        {"id": Text("x")},
        {"flag": 1},
        {"share": float("nan")},
        {"id": ["x"]},
    ],
)
def test_values_of_another_type_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        check_parameters(declare(ALL), {"id": "e", **given}, "sample")


def test_a_required_parameter_must_be_given() -> None:
    with pytest.raises(ConfigError, match="needs the parameter id: the id"):
        check_parameters(declare(ALL), {}, "sample")


def test_a_misspelt_name_is_refused_with_a_hint() -> None:
    with pytest.raises(
        ConfigError, match=r"no parameter 'cuont'\. Did you mean 'count'\? It takes: id \(str, required\)"
    ):
        check_parameters(declare(ALL), {"cuont": 1}, "sample")


def test_code_in_a_name_is_just_an_unknown_name() -> None:
    with pytest.raises(ConfigError, match="no parameter"):
        check_parameters(declare(ALL), {"id = 1; import os": "x"}, "sample")
