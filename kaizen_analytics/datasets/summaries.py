"""Exports as Markdown, to be pasted into a pull request, an issue tracker or a chat.

Only what every one of them shows in the same way, or what still reads well as plain text: one line to a thought, lists,
`code`, headings. No HTML, no tables, no bold.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from kaizen_analytics.metrics import REGISTRY
from kaizen_analytics.model import Metric
from kaizen_analytics.retro import sections
from kaizen_analytics.retro.bets import inflect
from kaizen_analytics.retro.sections import compact, compare_tallies, describe_tally
from kaizen_analytics.stats.effect import format_number, format_percent
from kaizen_analytics.text import escape_markdown, escape_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.datasets.wording import Wording
    from kaizen_analytics.retro.bets import Bet
    from kaizen_analytics.retro.earlier import FormerBet
    from kaizen_analytics.retro.retro import ExperimentLine, Retro

SHOWN_SESSIONS = 3
SHOWN_FURTHER = 5


def render_retro(retro: Retro, rows: Sequence[Mapping[str, Any]], wording: Wording) -> str:
    """Return a retro's bets with their evidence and what to do, what became of earlier ones, and experiments.

    Args:
        retro: The retro.
        rows: Its bets as the projection let them pass.
        wording: How text leaves.
    """
    made = [row for row in rows if row["status"] == "made"]
    found = [row for row in rows if row["status"] == "found"]
    cards = [_bet(bet, row, wording) for bet, row in zip(retro.bets, made, strict=True)]
    lines = [
        f"## Retro, {retro.label}",
        "",
        f"{describe_tally(retro.tally)}.",
        compare_tallies(retro.tally, retro.former_tallies),
        "",
        f"### {_heading(made)}",
        "",
        *(_no_bets(retro) if not made else ()),
        *(line for card in cards for line in card),
        *_section("Also found", [_found(row) for row in found[:SHOWN_FURTHER]]),
        *_section("Earlier bets", [_former(former, wording) for former in retro.former_bets]),
        *_section("Experiments", [_experiment(line, wording) for line in retro.experiments]),
        "### What the numbers leave out",
        "",
        *_left_out(retro),
    ]
    return "\n".join(lines) + "\n"


def render_sessions(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return sessions, tokens and cost by agent and model."""

    def name(row: Mapping[str, Any]) -> tuple[str, str]:
        return row["agent"], row["model"] or "model not recorded"

    groups = [(key, list(group)) for key, group in groupby(sorted(rows, key=name), key=name)]
    lines = [f"- {agent}, {model}: {_usage(group)}" for (agent, model), group in groups]
    return "\n".join([f"## {_many(len(rows), 'session')}", "", *lines]) + "\n"


def render_metrics(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the median and mean of every metric, and how many sessions tell it."""
    lines = [_metric(metric, [row[metric.column] for row in rows]) for metric in REGISTRY]
    return "\n".join([f"## Metrics of {_many(len(rows), 'session')}", "", *lines]) + "\n"


def render_experiments(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return each experiment's verdict and the change of every metric in it."""
    groups = groupby(rows, key=lambda row: row["experiment"])
    lines = [line for _, group in groups for line in _experiment_lines(list(group))]
    return "\n".join(["## Experiments", "", *(lines or ["No experiment is in the store."])]) + "\n"


def _left_out(retro: Retro) -> list[str]:
    """Return what the numbers leave out; which inputs each heuristic lacks is the business of the whole report."""
    lines = sections.quality(retro).markdown.split("\n")
    return [line for line in lines if line and not line.startswith("- Not evaluated")]


def _heading(made: Sequence[object]) -> str:
    return _many(len(made), "bet") if made else "No bet this time"


def _no_bets(retro: Retro) -> Iterator[str]:
    asked = sum(1 for finding in retro.findings if finding.evaluated)
    yield f"{asked} of {len(retro.findings)} heuristics could be asked, and found nothing new."
    yield ""


def _bet(bet: Bet, row: Mapping[str, Any], wording: Wording) -> list[str]:
    sessions = [f"`{wording.session(one)}`" for one in bet.evidence[:SHOWN_SESSIONS]]
    rest = len(bet.evidence) - SHOWN_SESSIONS
    more = f" and {rest} more" if rest > 0 else ""
    basis = "measured" if row["basis"] == "measured" else "an estimate"
    # A stand-in would not be found again in a commit message.
    told = (
        [f"   - Id, to name in the commit or experiment that acts on it: `{_code(bet.id)}`"]
        if row["bet_id"] == bet.id
        else []
    )
    return [
        f"{row['place']}. {_line(row['title'])}",
        f"   - Why: {_line(row['hypothesis'])}",
        f"   - Do: {_line(row['apply_step'])}",
        f"   - Saves about {compact(row['tokens_saved'])} tokens a week ({basis})",
        f"   - Takes about {row['effort']} minutes; {row['confidence']} confidence",
        f"   - Evidence: {_many(len(bet.evidence), 'session')}{': ' if sessions else ''}{', '.join(sessions)}{more}",
        *told,
        "",
    ]


def _found(row: Mapping[str, Any]) -> str:
    return f"{_line(row['title'])} (about {compact(row['tokens_saved'])} tokens a week)"


def _former(former: FormerBet, wording: Wording) -> str:
    title = wording.sentence(former.bet.title, former.bet.heuristic)
    then, now = former.bet.occurrences, former.occurrences_now
    seen = f"seen {then:,} times then, {now:,} now" if now is not None else "no longer seen"
    return inflect(f"{former.fate.value.capitalize()}: {_line(title)} ({seen})")


def _experiment(line: ExperimentLine, wording: Wording) -> str:
    label = REGISTRY[Metric(line.metric)].label.lower()
    change = _change(line.estimate, line.low, line.high)
    verdict = "not evaluated" if line.verdict is None else line.verdict.replace("_", " ")
    return f"`{_code(wording.value(line.name))}` ({line.state.lower()}): {label} {change}; {verdict}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"### {title}", "", *(f"- {line}" for line in lines), ""] if lines else []


def _experiment_lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = rows[0]
    name = first["name"] if first["name"] is not None else f"name-{first['experiment'][:10]}"
    verdict = (first["verdict"] or "not evaluated").replace("_", " ")
    decision = f"; {first['decision'].replace('_', ' ')}" if first["decision"] else ""
    yield f"- `{_code(name)}` ({first['state'].lower()}): {verdict}{decision}"
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
