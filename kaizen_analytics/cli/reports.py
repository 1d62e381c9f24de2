"""`report run|list|show`: make reports from notebooks and look at what was made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_table

if TYPE_CHECKING:
    from kaizen_analytics.reports.catalogue import Report
    from kaizen_analytics.reports.execution import Progress
    from kaizen_analytics.reports.runner import RunResult

OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of all reports.")]
DEFAULT_OUT = Path("reports")


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="Make reports, list the runs, show one.")
    group.command("run", epilog="Example: kaizen-analytics report run experiment_conclusion -p experiment_id=exp-1")(
        run
    )
    group.command("list", epilog="Example: kaizen-analytics report list --json")(list_runs)
    group.command("show", epilog="Example: kaizen-analytics report show 20260105T060000Z-1c0ffee0")(show)
    app.add_typer(group, name="report")


def run(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A report ('report list' names them), or a notebook file.")
    ],
    *,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="KEY=VALUE", help="A parameter of the notebook.")
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", metavar="LIST", help="Out of html, md, json, ipynb.")
    ] = "html,md,json",
    out: OutOption = DEFAULT_OUT,
    store: StoreOption = None,
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="For all cells together.")] = 900,
    force: Annotated[bool, typer.Option("--force", help="Run although nothing changed since the last run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make one report and publish it when it is whole.

    Exit codes: 0 made or unchanged, 1 a cell failed, 2 a wrong parameter, 74 cannot read or write, 75 another run is
    at it, 124 out of time, 130 interrupted, 138 the kernel died.
    """
    from kaizen_analytics.reports.parameters import parse_parameters
    from kaizen_analytics.reports.runner import Runner, RunRequest

    report = _find_report(name)
    given: dict[str, object] = dict(parse_parameters(report.parameters, _pairs(parameter or []), report.name))
    if "store" in report.parameters:
        given.setdefault("store", str(locate(store).path))
    wanted = tuple(part.strip() for part in formats.split(","))
    request = RunRequest(report=report, parameters=given, out=out, formats=wanted, timeout_s=timeout, force=force)
    result = Runner(progress=_progress(as_json=as_json)).run(request)
    _print_result(result, as_json=as_json)
    raise typer.Exit(result.exit_code)


def list_runs(*, out: OutOption = DEFAULT_OUT, as_json: JsonOption = False) -> None:
    """List the reports that can be made, and the runs that were."""
    from kaizen_analytics.reports.catalogue import list_notebooks, load_report
    from kaizen_analytics.reports.ledger import find_records

    reports = [load_report(name) for name in list_notebooks()]
    runs = sorted((record for _, record in find_records(out)), key=lambda run: run.started_at_ms, reverse=True)
    if as_json:
        described = [{"name": item.name, "title": item.title, "parameters": _describe(item)} for item in reports]
        print_json({"reports": described, "runs": [_run_json(run) for run in runs]})
        return
    print_table(
        ["report", "title", "parameters"], [[item.name, item.title, ", ".join(_describe(item))] for item in reports]
    )
    print()
    rows = [[run.run_id, run.report, run.subject, run.state, _seconds(run.duration_ms), run.error] for run in runs]
    print_table(["run", "report", "subject", "state", "seconds", "error"], rows, title=f"Runs in {out}")


def show(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of a run, or a unique beginning of it.")],
    *,
    out: OutOption = DEFAULT_OUT,
    as_json: JsonOption = False,
) -> None:
    """Show the record of one run and where its files lie."""
    from kaizen_analytics.errors import ReportError
    from kaizen_analytics.reports.ledger import find_records

    found = [(folder, record) for folder, record in find_records(out) if record.run_id.startswith(run_id)]
    if len(found) != 1:
        known = "no run begins" if not found else f"{len(found)} runs begin"
        raise ReportError(f"In {out} {known} with {run_id!r}; 'report list' names them.")
    folder, record = found[0]
    if as_json:
        print_json({"folder": str(folder), **_run_json(record)})
        return
    facts = [[name, _plain(value)] for name, value in _run_json(record).items() if value is not None]
    print_table(["field", "value"], [["folder", str(folder)], *facts])


def _find_report(name: str) -> Report:
    from kaizen_analytics.reports.catalogue import load_report, read_report

    return read_report(Path(name)) if name.endswith(".ipynb") else load_report(name)


def _pairs(texts: list[str]) -> dict[str, str]:
    from kaizen_analytics.errors import ConfigError

    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"-p {text} is not a parameter; expected KEY=VALUE.")
        if key in pairs:
            raise ConfigError(f"The parameter {key} is given twice: {pairs[key]!r} and {value!r}.")
        pairs[key] = value
    return pairs


def _progress(*, as_json: bool) -> Progress:
    import sys

    from kaizen_analytics.reports.runner import ignore_progress

    def draw(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{'#' * done}{'.' * (total - done)} {done}/{total} cells{end}")
        sys.stderr.flush()

    return draw if sys.stderr.isatty() and not as_json else ignore_progress


def _print_result(result: RunResult, *, as_json: bool) -> None:
    import sys

    record = result.record
    if as_json:
        print_json({"folder": str(result.folder), "skipped": result.skipped, **_run_json(record)})
    elif result.exit_code:
        print(f"error: {record.error}\nThe executed notebook and the record lie in {result.folder}", file=sys.stderr)
    else:
        if result.skipped:
            print("Nothing has changed since the last run; --force makes the report again.")
        for output in record.outputs:
            print(result.folder / output.path)


def _run_json(record: object) -> dict[str, object]:
    import json

    document: dict[str, object] = json.loads(record.to_json())  # type: ignore[attr-defined]
    return document


def _describe(report: Report) -> list[str]:
    return [parameter.describe() for parameter in report.parameters.values()]


def _seconds(duration_ms: int | None) -> float | None:
    return None if duration_ms is None else duration_ms / 1000


def _plain(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
