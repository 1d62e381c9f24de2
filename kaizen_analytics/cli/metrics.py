"""`metrics`: what the sessions of a store cost and how they went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.cache import refresh_mirror
from kaizen_analytics.cli.lake import EngineOption, LakeKeyOption, LakeOption, RemoteOption, choose_engine, read_key
from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time, read_clock
from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

    from kaizen_analytics.engines import Engine

_EXAMPLES = """\b
Examples:
  kaizen-analytics metrics --since 7d
  kaizen-analytics metrics --agent codex --json
  kaizen-analytics metrics --since 2026-10-01 --out october.parquet
  kaizen-analytics metrics --lake /mnt/team/lake --engine spark --spark-remote sc://127.0.0.1:50051
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
    lake: LakeOption = None,
    lake_key: LakeKeyOption = None,
    engine: EngineOption = None,
    spark_remote: RemoteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute every metric of every session.

    Sub-agents count with the session that started them. A metric that a transcript cannot tell is missing, never 0.
    They are read ready-made; with --engine, and in a lake, they are computed anew.
    """
    now_ms = read_clock()
    chosen_engine = choose_engine(engine, spark_remote)
    if lake is None:
        frame = _read_store(store, chosen_engine, apart=apart)
    else:
        frame = _read_lake(lake, store, lake_key, chosen_engine, apart=apart)
        workspace = None if workspace is None else _disguise(workspace, lake_key)
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


def _read_store(store: Path | None, engine: Engine | None, *, apart: bool) -> pl.DataFrame:
    from kaizen_analytics.columnar import session_metrics

    path = locate(store).path
    refresh_mirror(path)
    return session_metrics(path, rollup=not apart, engine=engine)


def _read_lake(
    url: str, store: Path | None, lake_key: Path | None, engine: Engine | None, *, apart: bool
) -> pl.DataFrame:
    from kaizen_analytics.lake import read_metrics

    if store is not None:
        raise ConfigError("Give --store or --lake, not both.")
    return read_metrics(url, rollup=not apart, engine=engine, key=read_key(lake_key))


def _disguise(workspace: str, lake_key: Path | None) -> str:
    """Return what a workspace is called in the lake."""
    from kaizen_analytics.lake.schema import name_workspace

    key = read_key(lake_key)
    if key is None:
        raise ConfigError("A lake holds stand-ins of workspaces; --workspace needs --lake-key FILE to find one.")
    return name_workspace(workspace, key)


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
