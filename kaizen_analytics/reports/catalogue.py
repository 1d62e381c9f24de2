"""The reports that can be run: each is a notebook with a declaration in its metadata.

    "metadata": {"kaizen": {"title": "Experiment conclusion", "subject": "experiment_id", "inputs": ["store"]}}

`subject` names the parameter that tells one series of reports from another (each has its own folder and its own
`latest`); `inputs` are the parameters that name files, which must exist and become part of the fingerprint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ReportError, did_you_mean
from kaizen_analytics.core.settings import find_folder
from kaizen_analytics.reports.parameters import read_parameters

if TYPE_CHECKING:
    from kaizen_analytics.reports.parameters import Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A notebook that can be run as a report."""

    name: str
    path: Path
    title: str
    subject: str | None
    inputs: tuple[str, ...]
    parameters: dict[str, Parameter]
    source: bytes

    def notebook(self) -> Any:  # noqa: ANN401 - nbformat has no types
        """Return a fresh copy of the notebook, without the outputs of its last run."""
        notebook = _parse(self.source, self.path)
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

    reports = [read_report(path) for path in list_notebooks().values()]
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
            path.write_text(nbformat.writes(notebook), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"The notebooks cannot be written to {folder}: {error.strerror}.") from error
    return copies


def load_report(name: str) -> Report:
    """Return the report called `name`, which is one of `list_notebooks` or the path of a notebook of one's own.

    Raises:
        ReportError: no report has this name, or the file cannot be read as one.

    >>> load_report("portfolio").title
    'Experiment portfolio'
    """
    if name.endswith(".ipynb"):
        return read_report(Path(name))
    notebooks = list_notebooks()
    if name not in notebooks:
        known = ", ".join(notebooks)
        raise ReportError(f"There is no report {name!r}; expected one of {known}.{did_you_mean(name, notebooks)}")
    return read_report(notebooks[name])


def read_report(path: Path) -> Report:
    """Return the report that a notebook file declares.

    Raises:
        ReportError: the file cannot be read as a notebook, or its declaration is wrong.

    >>> read_report(list_notebooks()["portfolio"]).inputs
    ('store',)
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ReportError(f"The notebook {path} cannot be read: {error.strerror}.") from error
    notebook = _parse(source, path)
    name = _name(path)
    parameters = read_parameters(notebook, name)
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


def _declared(key: str | None, parameters: dict[str, Parameter], path: Path) -> str | None:
    if key is not None and (key not in parameters or parameters[key].kind is not str):
        raise ReportError(f"{path.name} names {key!r} in its metadata; expected a declared parameter of type str.")
    return key


def _name(path: Path) -> str:
    return re.sub(r"^\d+_", "", path.stem)


def _parse(source: bytes, path: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    import nbformat

    try:
        notebook = nbformat.reads(source.decode("utf-8"), as_version=4)
    except (UnicodeDecodeError, nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
        raise ReportError(f"{path} is not a Jupyter notebook: {error}.") from error
    notebook.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    return notebook
