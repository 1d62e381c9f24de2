"""The reports that can be run: each is a notebook with a declaration in its metadata.

    "metadata": {"kaizen": {"title": "Experiment conclusion", "subject": "experiment_id", "inputs": ["store"]}}

`subject` names the parameter that tells one series of reports from another (each has its own folder and its own
`latest`); `inputs` are the parameters that name files, which must exist and become part of the fingerprint.

Parameters are declared with types in the cell tagged `parameters`, by lines such as
`experiment_id: str = ""  # required: id of the experiment`, and checked before a kernel starts: papermill alone would
warn about an unknown name and go on with the default, and would turn the text 007 into the number 7.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError, ReportError, did_you_mean
from kaizen_analytics.core.files import write_file
from kaizen_analytics.core.settings import find_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


Value = str | int | float | bool
"""What a parameter can be: exactly these types, because papermill writes parameters into code."""

_REQUIRED = "required:"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parameter:
    """One declared parameter of a notebook."""

    name: str
    kind: type[Value]
    default: Value
    required: bool
    help: str

    @property
    def expected(self) -> str:
        """What a message says is expected."""
        return _KINDS[self.kind.__name__][1]

    def describe(self) -> str:
        """Return one line for help pages and error messages."""
        need = "required" if self.required else f"default {self.default!r}"
        return f"{self.name} ({self.kind.__name__}, {need})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A notebook that can be run as a report."""

    name: str
    path: Path
    title: str
    subject: str | None
    inputs: tuple[str, ...]
    parameters: dict[str, _Parameter]
    source: bytes

    def notebook(self) -> Any:  # noqa: ANN401 - nbformat has no types
        """Return a fresh copy of the notebook, without the outputs of its last run."""
        notebook = _parse_notebook(self.source, self.path)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        return notebook


def list_notebooks() -> dict[str, Path]:
    """Return the notebooks of this installation by report name, in the order of their numbers.

    >>> list(list_notebooks())[:2]
    ['experiment_conclusion', 'portfolio']
    """
    return {_name(path): path for path in sorted(find_folder("notebooks").glob("*.ipynb"))}


def copy_notebooks(folder: Path, store: Path) -> list[Path]:
    """Copy the notebooks into a folder, without outputs and with `store` as the store that they read; return the files.

    Raises:
        ReportError: one of them is there already, or the folder cannot be written; nothing is replaced.

    >>> [path.name for path in copy_notebooks(tmp / "copies", tmp / "team.db")][:2]
    ['10_experiment_conclusion.ipynb', '15_portfolio.ipynb']
    """
    import nbformat

    reports = [_read_report(path) for path in list_notebooks().values()]
    copies = [folder / report.path.name for report in reports]
    there = [path for path in copies if path.exists()]
    if there:
        raise ReportError(f"{there[0]} exists; name another folder, or move it away.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for report, path in zip(reports, copies, strict=True):
            notebook = report.notebook()
            for cell in notebook.cells:
                if "parameters" in cell.metadata.get("tags", ()):
                    cell.source = cell.source.replace('store: str = ""', f"store: str = {str(store)!r}")
            write_file(path, nbformat.writes(notebook).encode())
    except OSError as error:
        for path in copies:  # none was there before, and half of them are no use
            path.unlink(missing_ok=True)
        raise ReportError(f"The notebooks cannot be written to {folder}: {error.strerror}.") from error
    return copies


def load_report(name: str | Path) -> Report:
    """Return the report called `name`, one of `list_notebooks`, or that of a notebook file of one's own.

    Raises:
        ReportError: no report has this name, the file cannot be read as a notebook, or its declaration is wrong.

    >>> load_report("portfolio").title
    'Experiment portfolio'
    """
    if isinstance(name, Path) or name.endswith(".ipynb"):
        return _read_report(Path(name))
    notebooks = list_notebooks()
    if name not in notebooks:
        known = ", ".join(notebooks)
        raise ReportError(f"There is no report {name!r}; expected one of {known}.{did_you_mean(name, notebooks)}")
    return _read_report(notebooks[name])


def _read_report(path: Path) -> Report:
    """Return the report that a notebook file declares."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ReportError(f"The notebook {path} cannot be read: {error.strerror}.") from error
    notebook = _parse_notebook(source, path)
    name = _name(path)
    parameters = _read_parameters(notebook, name)
    declared = notebook.metadata.get("kaizen", {})
    return Report(
        name=name,
        path=path,
        title=str(declared.get("title", name)),
        subject=_declared(declared.get("subject"), parameters, path),
        inputs=tuple(str(_declared(key, parameters, path)) for key in declared.get("inputs", ())),
        parameters=parameters,
        source=source,
    )


def _declared(key: str | None, parameters: dict[str, _Parameter], path: Path) -> str | None:
    if key is not None and (key not in parameters or parameters[key].kind is not str):
        raise ReportError(f"{path.name} names {key!r} in its metadata; expected a declared parameter of type str.")
    return key


def _name(path: Path) -> str:
    return re.sub(r"^\d+_", "", path.stem)


def _parse_notebook(source: bytes, path: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    import nbformat

    try:
        notebook = nbformat.reads(source.decode("utf-8"), as_version=4)
    except (UnicodeDecodeError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise ReportError(f"{path} is not a Jupyter notebook: {error}.") from error
    notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    return notebook


def _read_parameters(notebook: Any, name: str) -> dict[str, _Parameter]:  # noqa: ANN401 - nbformat has no types
    """Return the parameters that a notebook declares, by name; `name` is that of the report, for messages."""
    from papermill import inspect_notebook

    return {key: _parameter(found, name) for key, found in inspect_notebook(notebook).items()}


def parse_parameters(declared: Mapping[str, _Parameter], given: Mapping[str, str], report: str) -> dict[str, Value]:
    """Return texts from a command line or a file as values of the declared types.

    Raises:
        ConfigError: an unknown name, or a text that is not of the declared type.

    >>> weeks = _Parameter(name="weeks", kind=int, default=4, required=False, help="")
    >>> parse_parameters({"weeks": weeks}, {"weeks": "8"}, "costs")
    {'weeks': 8}
    """
    values: dict[str, Value] = {}
    for key, text in given.items():
        parameter = _known(declared, key, report)
        try:
            values[key] = _KINDS[parameter.kind.__name__][2](text)
        except (ValueError, KeyError):
            raise ConfigError(f"Parameter {key} is {text!r}; expected {parameter.expected}.") from None
    return values


def check_parameters(declared: Mapping[str, _Parameter], given: Mapping[str, object], report: str) -> dict[str, Value]:
    """Return every declared parameter with its value, given or default, in the order of the declaration.

    Raises:
        ConfigError: an unknown name, a value of another type, or a required parameter without a value.

    >>> weeks = _Parameter(name="weeks", kind=int, default=4, required=False, help="")
    >>> check_parameters({"weeks": weeks}, {}, "costs")
    {'weeks': 4}
    """
    values = {key: _check(_known(declared, key, report), value) for key, value in given.items()}
    for parameter in declared.values():
        if parameter.required and values.get(parameter.name, "") == "":
            raise ConfigError(f"Report {report!r} needs the parameter {parameter.name}: {parameter.help}.")
    return {key: values.get(key, parameter.default) for key, parameter in declared.items()}


def _parameter(found: Mapping[str, str], report: str) -> _Parameter:
    name, text, source = found["name"], found["help"], found["default"]
    if found["inferred_type_name"] not in _KINDS:
        raise ReportError(
            f"Report {report!r} declares {name} with the type {found['inferred_type_name']}; expected one of "
            f"{', '.join(_KINDS)}, as in '{name}: str = \"\"'."
        )
    kind = _KINDS[found["inferred_type_name"]][0]
    try:
        default: Value = ast.literal_eval(source)
    except (ValueError, SyntaxError) as error:
        raise ReportError(f"Report {report!r} gives {name} the default {source}; expected a plain value.") from error
    if type(default) is not kind:
        raise ReportError(f"Report {report!r} gives {name} the default {source}; expected a {kind.__name__}.")
    told = text.removeprefix(_REQUIRED).strip()
    return _Parameter(name=name, kind=kind, default=default, required=text.startswith(_REQUIRED), help=told)


def _known(declared: Mapping[str, _Parameter], key: str, report: str) -> _Parameter:
    if key in declared:
        return declared[key]
    takes = ", ".join(parameter.describe() for parameter in declared.values()) or "no parameters"
    raise ConfigError(f"Report {report!r} has no parameter {key!r}.{did_you_mean(key, declared)} It takes: {takes}.")


def _check(parameter: _Parameter, value: object) -> Value:
    checked = float(value) if type(value) is int and parameter.kind is float else value
    if not isinstance(checked, str | int | float | bool) or type(checked) is not parameter.kind:
        raise ConfigError(
            f"Parameter {parameter.name} is {value!r} ({type(value).__name__}); expected {parameter.expected}."
        )
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ConfigError(f"Parameter {parameter.name} is {checked}; expected a finite number.")
    return checked


_KINDS: dict[str, tuple[type[Value], str, Callable[[str], Value]]] = {
    "str": (str, "text", str),
    "int": (int, "a whole number", int),
    "float": (float, "a number", float),
    "bool": (bool, "true or false", lambda text: {"true": True, "false": False}[text.lower()]),
}
"""The types of parameters: how a message names each, and how a text becomes one."""
