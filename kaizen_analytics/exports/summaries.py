"""Exports as Markdown, to be pasted into a pull request, an issue tracker or a chat.

Only what every one of them shows in the same way, or what still reads well as plain text: one line to a thought, lists,
`code`, headings. No HTML, no tables, no bold.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.metrics import OF_SESSIONS, OUTCOMES, REGISTRY
from kaizen_analytics.core.model import Metric
from kaizen_analytics.core.words import clean as escape_plain
from kaizen_analytics.core.words import compact, escape_markdown, format_number, format_percent
from kaizen_analytics.pages.retro import describe_followed, describe_totals, list_unknown
from kaizen_analytics.retro.followup import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from kaizen_analytics.retro.findings import Finding
    from kaizen_analytics.retro.followup import Followed
    from kaizen_analytics.retro.retro import ExperimentLine, Retro
    from kaizen_analytics.retro.wording import Wording

_SHOWN_SESSIONS = 3


def render_retro(retro: Retro, rows: Sequence[Mapping[str, Any]], wording: Wording) -> str:
    """Return a retro's findings with what to do, what came of earlier ones, and experiments.

    Args:
        retro: The retro.
        rows: Its findings as the projection let them pass.
        wording: How text leaves.

    >>> render_retro  # doctest: +ELLIPSIS
    <function render_retro at ...>
    """
    cards = [_finding(finding, row, wording) for finding, row in zip(retro.findings, rows, strict=True)]
    unknown = [line for line in list_unknown(retro) if not line.startswith("Not evaluable")]
    lines = [
        f"## Retro, {retro.label}",
        "",
        f"{describe_totals(retro)}.",
        "",
        f"### {_many(len(rows), 'change') + ' worth making' if rows else 'Nothing recurs that is worth a change'}",
        "",
        *(line for card in cards for line in card),
        *_section("Earlier findings", [_followed(one, wording) for one in retro.followed]),
        *_section("Experiments", [_experiment(line, wording) for line in retro.experiments]),
        "### What is not known",
        "",
        *(f"- {_line(line)}" for line in unknown),
    ]
    return "\n".join(lines) + "\n"


def _render_sessions(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return sessions, tokens and cost by agent and model."""

    def name(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["agent"], row["model"] or "model not recorded"

    groups = [(key, list(group)) for key, group in groupby(sorted(rows, key=name), key=name)]
    lines = [f"- {agent}, {model}: {_usage(group)}" for (agent, model), group in groups]
    return "\n".join([f"## {_many(len(rows), 'session')}", "", *lines]) + "\n"


def _render_metrics(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the median and mean of every metric, and how many sessions tell it."""
    lines = [_metric(metric, [row[metric.column] for row in rows]) for metric in OF_SESSIONS if metric not in OUTCOMES]
    return "\n".join([f"## Metrics of {_many(len(rows), 'session')}", "", *lines]) + "\n"


def _render_experiments(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return each experiment's decision and the change of every metric in it."""
    groups = groupby(rows, key=lambda row: row["experiment"])
    lines = [line for _, group in groups for line in _experiment_lines(list(group))]
    return "\n".join(["## Experiments", "", *(lines or ["No experiment is in the store."])]) + "\n"


def _finding(finding: Finding, row: Mapping[str, Any], wording: Wording) -> list[str]:
    sessions = list(dict.fromkeys(moment.session_id for moment in finding.evidence))[:_SHOWN_SESSIONS]
    shown = ", ".join(f"`{wording.session(session)}`" for session in sessions)
    cost = "cost not known" if row["usd_per_week"] is None else f"{row['usd_per_week']:,.2f} USD a week or more"
    return [
        f"{row['place']}. {_line(row['title'])}",
        f"   - Seen {row['times']} times in {row['sessions']} of {_many(row['exposed'], 'session')}, {cost}",
        f"   - Do: {_line(row['change'])}",
        f"   - Evidence: {shown}",
        f"   - Id: `{finding.id}`",
        "",
    ]


def _followed(one: Followed, wording: Wording) -> str:
    note = one.note if one.standing is not Standing.DECLINED else wording.sentence(f"`{one.note}`")
    told = describe_followed(replace(one, note=note))
    return f"{one.standing.value.capitalize()}: {_line(wording.sentence(one.title))} ({_line(told)})"


def _experiment(line: ExperimentLine, wording: Wording) -> str:
    label = REGISTRY[line.metric].label.lower()
    record = line.to_json()
    change = _change(record["estimate"], record["low"], record["high"])
    decision = "not evaluated" if line.decision is None else line.decision.replace("_", " ")
    grade = "" if line.grade is None else f" ({line.grade.replace('_', ' ')})"
    return f"`{_code(wording.value(line.name))}` ({line.state.lower()}): {label} {change}; {decision}{grade}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"### {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _experiment_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = rows[0]
    name = first["name"] if first["name"] is not None else f"name-{first['experiment'][:10]}"
    decision = (first["decision"] or "not evaluated").replace("_", " ")
    grade = f" ({first['grade'].replace('_', ' ')})" if first["grade"] else ""
    yield f"- `{_code(name)}` ({first['state'].lower()}): {decision}{grade}"
    for row in rows:
        if row["is_evaluated"] and row["role"] != "secondary":
            yield f"  - {_compared(row)}"


def _compared(row: Mapping[str, Any]) -> str:
    label = REGISTRY[Metric(row["metric"])].label
    sessions = f"{row['control_sessions']:,} against {row['treatment_sessions']:,} sessions"
    means = [row["control_mean"], row["treatment_mean"]]
    if row["change"] is not None or None in means:
        change = _change(row["change"], row["change_low"], row["change_high"])
    else:
        change = f"from a mean of {format_number(means[0])} to {format_number(means[1])}"
    status = f"Guardrail {row['guardrail_status']}: " if row["guardrail_status"] else ""
    return f"{status}{label.lower() if status else label} {change}, {sessions}"


def _metric(metric: Metric, values: Sequence[float | None]) -> str:
    known = sorted(value for value in values if value is not None)
    definition = REGISTRY[metric]
    if not known:
        return f"- {definition.label}: not known for any session"
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    mean = sum(known) / len(known)
    shown = [
        format_percent(100 * number) if definition.unit == "share" else format_number(number)
        for number in (middle, mean)
    ]
    unit = "" if definition.unit in {"count", "share"} else f" {definition.unit}"
    return f"- {definition.label}: median {shown[0]}, mean {shown[1]}{unit} ({_many(len(known), 'session')})"


def _usage(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")
    tokens = [row[name] for row in rows for name in names if row[name] is not None]
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    used = f"{compact(sum(tokens))} new tokens" if tokens else "tokens not known"
    paid = f"{sum(costs):,.2f} USD" if costs else "cost not known"
    without = len(rows) - len(costs)
    note = f" ({without:,} without a price)" if costs and without else ""
    return f"{_many(len(rows), 'session')}, {used}, {paid}{note}"


def _change(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return "no percent change"
    ends = ["unbounded" if end is None else _signed(end) for end in (low, high)]
    return f"{_signed(estimate)} % ({ends[0]} to {ends[1]})"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _line(text: str) -> str:
    """Return one line whose `code` stays code; everything else shows as it is written."""
    pieces = text.split("`")
    pieces[::2] = [_escape(piece) for piece in pieces[::2]]
    pieces[1::2] = [f"`{_code(piece)}`" for piece in pieces[1::2]]
    return "".join(pieces)


def _escape(text: str) -> str:
    # escape_markdown takes its text for a whole line; a dollar alone is no formula and stays readable in a chat.
    return escape_markdown(f"x{text}x")[1:-1].replace("\\$", "$")


def _code(text: str) -> str:
    return " ".join(escape_plain(text).replace("`", "'").split())


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


RENDERERS: dict[str, Callable[[Sequence[Mapping[str, Any]]], str]] = {
    "sessions": _render_sessions,
    "metrics": _render_metrics,
    "experiments": _render_experiments,
}
"""What renders the rows of each table as Markdown."""
