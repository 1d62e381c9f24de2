"""`metrics`: what the sessions of a store cost and how they went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kaizen_analytics.cli.cache import refresh_mirror
from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, read_clock

if TYPE_CHECKING:
    import polars as pl

    from kaizen_analytics.engines import Engine

_EXAMPLES = """\b
Examples:
  kaizen-analytics metrics --since 7d
  kaizen-analytics metrics --agent codex --json
  kaizen-analytics metrics --since 2026-10-01 --out october.parquet
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_EXAMPLES)(metrics)


def metrics(
    *,
    store: StoreOption = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help=f"First start that counts. {TIME_HELP}")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="First start that no longer counts.")] = None,
    workspace: Annotated[str | None, typer.Option(metavar="PATH", help="Only this workspace and below.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only this agent, such as claude_code or codex.")] = None,
    apart: Annotated[bool, typer.Option("--apart", help="Count sub-agents as sessions of their own.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one row per session to a .parquet, .csv or .json file.")
    ] = None,
    engine: Annotated[
        Literal["duckdb", "spark"] | None,
        typer.Option(help="Compute them anew there, instead of reading them ready-made (docs/scale.md)."),
    ] = None,
    spark_remote: Annotated[
        str | None, typer.Option(metavar="URL", help="--engine spark: a Spark Connect server, such as sc://host:15002.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute every metric of every session.

    Sub-agents count with the session that started them. A metric that a transcript cannot tell is missing, never 0.
    """
    from kaizen_analytics.columnar import session_metrics

    now_ms = read_clock()
    path = locate(store).path
    refresh_mirror(path)
    frame = session_metrics(path, rollup=not apart, engine=_make_engine(engine, spark_remote))
    chosen = _filter(
        frame,
        since_ms=parse_optional_time(since, now_ms),
        until_ms=parse_optional_time(until, now_ms),
        workspace=workspace,
        agent=agent,
    )
    if out is not None:
        from kaizen_analytics.exports import write_table

        write_table(chosen, out)
    if as_json:
        print_json({"out": None if out is None else str(out), "sessions": chosen.to_dicts()})
    elif out is not None:
        print(f"Wrote {chosen.height:,} sessions to {out}")
    else:
        _print_summary(chosen)


def _make_engine(name: str | None, spark_remote: str | None) -> Engine | None:
    if name is None and spark_remote is None:
        return None
    from kaizen_analytics.engines import EngineName, make_engine

    return make_engine(EngineName(name or "duckdb"), spark_remote)


def _filter(
    frame: pl.DataFrame,
    *,
    since_ms: int | None,
    until_ms: int | None,
    workspace: str | None,
    agent: str | None,
) -> pl.DataFrame:
    import polars as pl

    from kaizen_analytics.experiments.sample import in_workspaces

    conditions = [in_workspaces(() if workspace is None else (workspace,))]
    conditions += [pl.col("started_at_ms") >= since_ms] if since_ms is not None else []
    conditions += [pl.col("started_at_ms") < until_ms] if until_ms is not None else []
    conditions += [pl.col("agent") == agent] if agent is not None else []
    return frame.filter(*conditions).sort("started_at_ms", "session_id")


def _print_summary(frame: pl.DataFrame) -> None:
    from kaizen_analytics.metrics import REGISTRY

    rows = []
    for metric, definition in REGISTRY.items():
        values = frame[metric.column].drop_nulls()
        known, missing = values.len(), frame.height - values.len()
        rows.append((definition.label, definition.unit, known, missing, values.median(), values.mean()))
    print(f"{frame.height:,} sessions")
    print_table(["metric", "unit", "sessions", "missing", "median", "mean"], rows)
