"""Reports: notebooks run unattended and rendered to one page.

    catalogue    which notebooks are reports, and what each declares
    parameters   typed parameters, checked before a kernel starts
    runner       one run: locked, staged, judged, published whole, recorded
    execution, kernels, fingerprint, publication, ledger     what the runner is made of
    rendering, pdf     an executed notebook as HTML, Markdown, JSON and PDF
    components, charts, svg      what a notebook shows, in every format at once
    exhibits, vega     charts (made with Altair) and tables of one's own, in the same look
    conclusion, portfolio     the sections of these reports
    schedules, due, units    what is due, making it, and what calls us
    batch, in_process, preload     several reports at once

`run_report` makes one report by name; `Runner` is the same with a clock, formats and a record of failures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.reports.runner import RunResult

__all__ = ["run_report"]


def run_report(name: str, parameters: Mapping[str, object], out: Path) -> RunResult:
    """Make the report `name` below the folder `out`, in the default formats.

    Args:
        name: A report of `list_notebooks`, such as `experiment_conclusion`.
        parameters: Values of the declared parameters, in their declared types.
        out: Folder of all reports.

    Raises:
        ReportError: there is no such report, a cell failed, time ran out or the kernel died.
        ConfigError: a parameter is unknown, missing or of a wrong type.
    """
    from kaizen_analytics.errors import ReportError
    from kaizen_analytics.reports.catalogue import load_report
    from kaizen_analytics.reports.runner import Runner, RunRequest

    result = Runner().run(RunRequest(report=load_report(name), parameters=parameters, out=out))
    if result.exit_code:
        raise ReportError(f"The report {name!r} failed: {result.record.error} Its record lies in {result.folder}.")
    return result
