"""`judge`: the statistics and the decision of an experiment for a table of somebody else's runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from kaizen_analytics.cli.options import command
from kaizen_analytics.cli.output import print_page
from kaizen_analytics.core.errors import ConfigError, RecordError, one_of
from kaizen_analytics.core.files import write_file
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.experiments.foreign import judge_runs, parse_results
from kaizen_analytics.experiments.plan import Statistic
from kaizen_analytics.pages.blocks import Block
from kaizen_analytics.pages.foreign import foreign_document, foreign_page
from kaizen_analytics.reports.rendering import render_page


@command(
    "judge",
    "judge runs.csv --metric cost --direction decrease --target 10%",
    "judge long.eval short.eval --arm eval --metric tokens --output page.html",
)
def _judge(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Runs: CSV, Parquet or JSON lines, or results of promptfoo, Inspect or 'claude plugin eval'.",
        ),
    ],
    metric: Annotated[str | None, typer.Option(help="Column to judge. Default: score, passed or success.")] = None,
    direction: Annotated[
        str | None, typer.Option(help="Better side: increase or decrease. Default: by the name of the metric.")
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="PERCENT", help="Change in that direction to prove; 0: any improvement.")
    ] = "0",
    arm: Annotated[str | None, typer.Option(help="Column of the arms. Default: one with a usual name.")] = None,
    control: Annotated[str | None, typer.Option(help="Its value for the control arm.")] = None,
    treatment: Annotated[str | None, typer.Option(help="Its value for the treatment arm.")] = None,
    task: Annotated[
        str | None, typer.Option(help="Column of the tasks, by which runs are paired. Default: 'task' and the like.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Column of what was assigned to an arm, such as a user; no pairs then.")
    ] = None,
    statistic: Annotated[
        str | None, typer.Option(help="median or mean, for quantities. Default: mean of pairs, else median.")
    ] = None,
    guardrail: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN:DIRECTION:PERCENT", help="Must not get worse; repeatable.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Two-sided error level.")] = 0.05,
    randomised: Annotated[
        bool, typer.Option("--randomised", help="Arms were drawn by lot, and the rule was fixed before the results.")
    ] = False,
    split: Annotated[
        float | None, typer.Option(metavar="PERCENT", help="--randomised: declared share of the treatment.")
    ] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write the page to a file.")] = None,
) -> Iterator[object]:
    """Judge runs from elsewhere by the rules of an experiment.

    Nothing is stored. Runs of both arms on the same task are compared as pairs.
    """
    try:
        data = [file.read_bytes() for file in files]
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}.") from error
    runs = _join([parse_results(file.name, content) for file, content in zip(files, data, strict=True)], files)
    found = judge_runs(
        runs,
        metric=metric,
        direction=direction,
        target=target,
        arm=arm,
        arms=(control, treatment),
        task=task,
        unit=unit,
        statistic=None if statistic is None else one_of("--statistic", statistic, Statistic),
        guardrails=guardrail or (),
        alpha=alpha,
        randomised=randomised,
        split=split,
    )
    source = ", ".join(file.name for file in files)
    document, page = foreign_document(found, source), foreign_page(found, source)
    if output is not None:
        digest, blocks = hashlib.sha256(b"".join(data)).hexdigest(), [page, Block(data=document)]
        write_file(output, render_page(blocks, "Runs from elsewhere", output.stem, digest, read_clock()).encode())
    yield document if output is None else {**document, "file": str(output)}
    print_page(page)
    if output is not None:
        print(f"\nWrote {output}")


def _join(parts: list[pl.DataFrame], files: list[Path]) -> pl.DataFrame:
    """Return the runs of all files, with the name of each in the column `file` where there are several."""
    if len(parts) > 1:
        parts = [part.with_columns(file=pl.lit(file.stem)) for part, file in zip(parts, files, strict=True)]
    try:
        runs = pl.concat(parts, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise RecordError(f"The files do not have the same columns: {error}") from error
    if runs.is_empty():
        raise RecordError(f"{files[0].name} holds no run.")
    return runs
