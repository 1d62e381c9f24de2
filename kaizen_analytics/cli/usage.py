"""`usage`: tokens and cost by day, model, folder and more."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kaizen_analytics.cli.filters import Filter
from kaizen_analytics.cli.options import StoreOption, command, open_store
from kaizen_analytics.cli.output import NO_SESSION, print_note, print_table, print_unreliable
from kaizen_analytics.cli.times import choose_timezone
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.retro.guidance import KINDS, compute_carried
from kaizen_analytics.usage import (
    RESPONSES,
    TOOL_CALLS,
    Chosen,
    check_keys,
    compute_budget,
    compute_tools,
    compute_total,
    compute_usage,
)

if TYPE_CHECKING:
    import polars as pl

_LABELS = {
    "tokens_in": "input",
    "cache_creation_tokens": "cache write",
    "cache_read_tokens": "cache read",
    "tokens_out": "output",
    "reasoning_tokens": "reasoning",
    "cost_usd": "USD",
    "priced_share": "priced",
}
_DROPPABLE = ("reasoning", "cache write", "sessions", "cache read", "priced", "input")
_SORTS = {"key": None, "cost": "cost_usd", "tokens": "new_tokens", "sessions": "sessions"}
_BUDGET_PASSED = 3
_NEXT_MONTH_MS = 32 * 86_400_000


@command(
    "usage",
    "usage",
    "usage --by month,model --since 2026-01-01",
    "usage --by workspace --last 7d --sort cost",
    "usage --by tool --last 30d",
    "usage --by mcp-server --last 30d",
    'usage --budget 200 && echo "within the budget"',
)
def _usage(
    *,
    store: StoreOption = None,
    by: Annotated[
        str,
        typer.Option(
            metavar="KEY[,KEY]",
            help="day, week, month, window (5 hours), weekly-window (7 days), agent, model, workspace, group, branch, "
            "pull-request, task, user, organisation, session. Two keys give one row per pair. Alone: tool, skill, "
            "mcp-server.",
        ),
    ] = "day",
    filters: Filter,
    last: Annotated[str | None, typer.Option(metavar="SPAN", help="The last 30d or 12h, instead of --since.")] = None,
    timezone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Where days begin, such as Europe/Berlin. Default: this machine's."),
    ] = None,
    sort: Annotated[str, typer.Option(help="key, cost, tokens or sessions (largest first).")] = "key",
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Compare this month (or --since to --until) with a budget; exit code 3 if it will be passed.",
        ),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values instead of a table.")] = False,
) -> Iterator[object]:
    """Show what was used: tokens by kind, and cost.

    A response counts at its own time and under its own model and branch. A sub-agent's responses count with the
    session that started it. Costs are list prices; "priced" is the share of the tokens whose model has one.
    """
    now_ms = read_clock()
    zone = choose_timezone(timezone)
    chosen = filters.choose(now_ms, zone, last=last)
    key = by.replace("-", "_")
    if budget is not None:
        yield from _show_budget(chosen, store, budget, now_ms, zone)
        return
    with open_store(store, read_only=True) as opened:
        if key == "tool":
            yield from _show_tools(compute_tools(chosen.read(TOOL_CALLS, opened)), as_csv=as_csv)
        elif key in KINDS:
            yield from _show_carried(key, compute_carried(opened, key, chosen), as_csv=as_csv)
        else:
            keys = key.split(",")
            check_keys(keys)
            responses = chosen.read(RESPONSES, opened)
            if sort not in _SORTS:
                raise ConfigError(f"Usage is sorted by {', '.join(_SORTS)}, not by {sort!r}.")
            frame = compute_usage(responses, keys, timezone=zone, groups=_read_groups(keys))
            if (column := _SORTS[sort]) is not None:
                frame = frame.sort(column, descending=True, nulls_last=True, maintain_order=True)
            yield from _show_usage(frame, compute_total(responses), keys, zone, as_csv=as_csv)


def _read_groups(keys: list[str]) -> Mapping[str, Sequence[str]]:
    settings = read_settings(os.environ, Path.home(), Path.cwd())
    if "group" in keys and not settings.groups:
        raise ConfigError(
            f"There is no group; name sets of folders under [groups] in {settings.path}, such as "
            'web = ["~/code/shop", "~/code/api"].'
        )
    return settings.groups


def _show_usage(
    frame: pl.DataFrame, total: pl.DataFrame, keys: list[str], zone: str, *, as_csv: bool
) -> Iterator[object]:
    sums = total.to_dicts()[0]
    yield {"timezone": zone, "by": keys, "usage": _plain(frame), "total": _plain(total)[0]}
    shown = [*keys, "sessions", *_LABELS]
    if sums["priced_share"] in (None, 1.0):
        shown.remove("priced_share")
    last = ["Total", *[""] * (len(keys) - 1), *_cells(sums, shown[len(keys) :])]
    if not _print_rows(frame, {name: _LABELS.get(name, name) for name in shown}, _DROPPABLE, last, as_csv=as_csv):
        return
    print_unreliable(sums["unreliable_responses"], sums["responses"])
    if unpriced := sums["unpriced_responses"]:
        print_note(
            f"{unpriced:,} responses have no price and add no cost; 'kaizen-analytics prices' names their models."
        )


def _print_rows(
    frame: pl.DataFrame,
    labels: dict[str, str],
    droppable: Sequence[str],
    total: list[object] | None = None,
    *,
    as_csv: bool,
) -> bool:
    """Print a table of the columns that have a label; with `as_csv` all columns, and nothing may follow."""
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(["" if value is None else value for value in row.values()] for row in _plain(frame))
    else:
        rows = [_cells(row, list(labels)) for row in frame.to_dicts()]
        print_table(
            list(labels.values()),
            rows,
            droppable=droppable,
            total=total,
            empty="None." if total is None else NO_SESSION,
        )
    return not as_csv


def _cells(row: dict[str, Any], names: list[str]) -> list[object]:
    return [_cell(name, row[name]) for name in names]


def _cell(name: str, value: Any) -> object:  # noqa: ANN401 - a value of any column
    if value is None:
        return None
    if name in ("priced_share", "error_share"):
        return f"{100 * value:.0f}%" if value in (0, 1) else f"{min(max(100 * value, 0.1), 99.9):.1f}%"
    if name in _FORMS:
        return format(value, _FORMS[name])
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


_FORMS = {"cost_usd": ",.2f", "median_seconds": ",.1f", "p95_seconds": ",.1f", "month": "%Y-%m"}


def _show_tools(frame: pl.DataFrame, *, as_csv: bool) -> Iterator[object]:
    yield {"by": ["tool"], "usage": _plain(frame)}
    labels = {name: name for name in ("tool", "calls", "sessions", "failures")}
    labels |= {"error_share": "failed", "median_seconds": "median s", "p95_seconds": "p95 s"}
    _print_rows(frame, labels, ("failures", "sessions"), as_csv=as_csv)


def _show_carried(kind: str, frame: pl.DataFrame, *, as_csv: bool) -> Iterator[object]:
    yield {"by": [kind], "usage": _plain(frame)}
    names = (kind, "uses", "sessions", "tokens", "carried_tokens", "cost_usd")
    labels = {name: _LABELS.get(name, name.replace("_", " ")) for name in names}
    if _print_rows(frame, labels, ("sessions", "tokens"), as_csv=as_csv):
        print_note(
            "USD is for carrying the texts in the context, at list prices; definitions of tools are not recorded."
        )


def _show_budget(chosen: Chosen, store: Path | None, budget: float, now_ms: int, zone: str) -> Iterator[object]:
    start_ms = _start_of_month(now_ms, zone) if chosen.since_ms is None else chosen.since_ms
    month_end_ms = _start_of_month(_start_of_month(now_ms, zone) + _NEXT_MONTH_MS, zone)
    end_ms = month_end_ms if chosen.until_ms is None else chosen.until_ms
    with open_store(store, read_only=True) as opened:
        responses = replace(chosen, since_ms=start_ms, until_ms=end_ms).read(RESPONSES, opened)
    found = compute_budget(responses, budget, start_ms=start_ms, end_ms=end_ms, now_ms=now_ms)
    passed = found.will_be_passed
    document = asdict(found) | {"will_be_passed": passed, "start_ms": start_ms, "end_ms": end_ms}
    yield document, _BUDGET_PASSED if passed else 0
    print(f"Spent     ${found.spent_usd:,.2f} of ${found.budget_usd:,.2f}")
    outlook = "the budget will be passed." if passed else "within the budget."
    print(f"Forecast  ${found.forecast_usd:,.2f} at the present rate: {outlook}")
    if found.unpriced_responses:
        print(f"{found.unpriced_responses:,} responses have no price and are not in these figures.")


def _start_of_month(at_ms: int, timezone: str) -> int:
    """Return when the month of a time began in a zone; both in milliseconds since the Unix epoch."""
    moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))
    return round(moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
        for row in frame.to_dicts()
    ]
