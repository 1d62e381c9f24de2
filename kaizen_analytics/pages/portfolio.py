"""The sections of the portfolio report, each a function from a `Portfolio` to a block.

Every sentence is computed. The notebook `15_portfolio` calls them in order.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core import codec
from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Metric, State
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.core.words import (
    capitalised,
    counted,
    format_change,
    format_day,
    format_interval,
    format_minute,
    lowered,
)
from kaizen_analytics.experiments.decide import Headline
from kaizen_analytics.pages import blocks, charts, plans, sentences
from kaizen_analytics.pages.blocks import Block, Link, Mark, Tone
from kaizen_analytics.pages.charts import ForestRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.experiments.portfolio import Portfolio
    from kaizen_analytics.experiments.portfolio import PortfolioLine as Line

_SHOWN = 30
"""Rows of a forest plot and of a list; more are in the JSON and the table."""
_WORDS = {
    Headline.SHIP: "ship",
    Headline.BETTER: "better (cause not shown)",
    Headline.UNDECIDED: "undecided",
    Headline.WORSE: "worse (cause not shown)",
    Headline.DO_NOT_SHIP: "do not ship",
}
_METHOD = (
    (
        "Their intervals allow for looking at any time, unless the plan is a single look. A concluded experiment keeps "
        "the numbers that were frozen."
    ),
    (
        "An experiment runs out of time when an arm, growing as it did so far, has fewer sessions than planned at the "
        "end of its window. The control arm of a commit lies in the past and does not grow."
    ),
    (
        "It is too small when, with all planned sessions, the smallest change that it finds in 80 of 100 cases is "
        "larger than its target. That follows from the width of its interval today, so it is rough while there are few "
        "sessions; experiments with an absolute target are not judged by it."
    ),
    (
        "The experiments are not adjusted for their number: of twenty without any effect, one may well look like one "
        "that has some."
    ),
)


def heading(portfolio: Portfolio) -> Block:
    """Return the title of the report.

    >>> heading(portfolio).plain.splitlines()[0]
    'Experiment portfolio'
    """
    shown = counted(len(portfolio.lines), "experiment")
    return blocks.title("Experiment portfolio", f"{shown} \u00b7 data as of {format_minute(portfolio.as_of_ms)}")


def overview(portfolio: Portfolio) -> Block:
    """Return the first box: how many experiments there are, and how many of them need somebody's attention.

    >>> overview(portfolio).plain.splitlines()[0]
    'No experiment needs attention'
    """
    if not portfolio.lines:
        return blocks.callout(
            Tone.NEUTRAL,
            "There is no experiment yet",
            blocks.paragraph("Plan one with 'kaizen-analytics exp new'; 'exp power' says how large it has to be."),
            *_left_out(portfolio),
        )
    urgent = _urgent(portfolio)
    needs = f"{counted(urgent, 'experiment')} need{'s' if urgent == 1 else ''} attention"
    headline = needs if urgent else "No experiment needs attention"
    found = [
        (portfolio.left_open, "passed the end and nobody concluded it", "passed the end and nobody concluded them"),
        (portfolio.running_out, "is running out of time", "are running out of time"),
        (portfolio.underpowered, "is too small for its target", "are too small for their targets"),
        ([line for line in portfolio.waiting if line.problem], "cannot be evaluated", "cannot be evaluated"),
    ]
    sentences = [
        f"{len(lines)} {one if len(lines) == 1 else many}: {_names(lines)}." for lines, one, many in found if lines
    ]
    return blocks.callout(
        Tone.UNCLEAR if urgent else Tone.NEUTRAL,
        headline,
        blocks.tiles(_tiles(portfolio)),
        blocks.bullets(sentences),
        *_left_out(portfolio),
    )


def outcomes(portfolio: Portfolio) -> Block:
    """Return the effect of every experiment on its own metric, the best outcome first.

    >>> outcomes(portfolio).html.startswith("<figure>")
    True
    """
    known = [(line, line.percent) for line in portfolio.decided if line.percent is not None]
    if not known:
        return blocks.paragraph("No experiment has a percent change to show yet.")
    rows = [
        ForestRow.of(
            f"{line.name}\n({line.state.value.lower()}; {lowered(REGISTRY[line.metric].label)})",
            interval,
            charts.CHANGES[line.headline or Headline.UNDECIDED],
            line.target_pct,
        )
        for line, interval in known[:_SHOWN]
    ]
    caption = (
        "Percent change of each experiment's own metric with its interval. The mark is the decision: triangle up for "
        "better, triangle down for worse, circle for undecided. A short upright line is the target, an arrow an "
        "interval that goes on."
    )
    caption += f" The first {_SHOWN} of {len(known)}." if len(known) > _SHOWN else ""
    return blocks.figure(charts.forest(rows), caption)


def decisions(portfolio: Portfolio, links: Mapping[str, str] | None = None) -> Block:
    """Return what was decided, or would be decided today, for each experiment.

    `links` holds the address of the conclusion report of each experiment that has one, by its id.

    >>> decisions(portfolio).html.count("<tr>")
    4
    """
    if not portfolio.decided:
        return blocks.paragraph("No experiment has been evaluated.")
    return blocks.table(
        ["experiment", "decision", "design", "change and interval", "why"],
        [_decision_row(line, (links or {}).get(line.id)) for line in portfolio.decided],
        caption="Concluded experiments, then running ones as they stand today",
        numeric=(3,),
    )


def attention(portfolio: Portfolio) -> Block:
    """Return the experiments that somebody should do something about: past their end, short of sessions, or waiting.

    >>> attention(portfolio).plain.splitlines()[0]
    'Too small for their target'
    """
    now_ms = portfolio.as_of_ms
    running = [line for line in portfolio.decided if line.state is State.RUNNING]
    unknown = [line for line in running if line.target_pct and line.detectable_pct is None]
    early = f"Too early to say, because the interval has no limits yet: {_names(unknown)}."
    lists = {
        "Nobody concluded these": [_left_open_sentence(line, now_ms) for line in portfolio.left_open],
        "Running out of time": [_running_out_sentence(line, now_ms) for line in portfolio.running_out],
        "Too small for their target": [
            *(_underpowered_sentence(line) for line in portfolio.underpowered),
            *([early] if unknown else []),
        ],
        "Waiting": [*(_waiting_sentence(line, now_ms) for line in portfolio.waiting), *portfolio.unreadable],
    }
    found = [(title, sentences) for title, sentences in lists.items() if sentences]
    if not found:
        return blocks.paragraph("Nothing: no experiment is late, too small for its target, or waiting.")
    parts = []
    for title, told in found:
        more = [f"And {len(told) - _SHOWN} more, in the JSON of this report."] if len(told) > _SHOWN else []
        parts += [blocks.subheading(title), blocks.bullets([*told[:_SHOWN], *more])]
    return blocks.stack(*parts)


def method(portfolio: Portfolio) -> Block:
    """Return how the lists come about, and what they cannot say.

    >>> method(portfolio).plain.partition(".")[0]
    '- Running experiments are evaluated as of 1970-01-01 00:00 UTC'
    """
    when = format_minute(portfolio.as_of_ms)
    return blocks.bullets([f"Running experiments are evaluated as of {when}. {_METHOD[0]}", *_METHOD[1:]])


def document(portfolio: Portfolio) -> Block:
    """Return the whole portfolio for `report.json`; it shows nothing.

    >>> document(portfolio).data["attention"]["underpowered"]
    ['plan-first', 'concise-instructions']
    """
    found = {
        "schema": "portfolio/1",
        "as_of_ms": portfolio.as_of_ms,
        "lines": [_document_line(line) for line in portfolio.lines],
        "archived": portfolio.archived,
        "unreadable": list(portfolio.unreadable),
        "attention": {
            "left_open": [line.id for line in portfolio.left_open],
            "running_out": [line.id for line in portfolio.running_out],
            "underpowered": [line.id for line in portfolio.underpowered],
        },
    }
    return Block(data=found)


def _document_line(line: Line) -> dict[str, Any]:
    record, made = codec.plain(line), line.decision
    percent = record.pop("percent") or dict.fromkeys(("estimate", "low", "high"))
    words = None if made is None or line.verdict is None else sentences.decision(made, line.verdict)
    grade = None if made is None else made.grade
    return {**record, **percent, "headline": codec.plain(line.headline), "grade": grade, "decision": words}


def _urgent(portfolio: Portfolio) -> int:
    """Return how many experiments somebody can still do something about."""
    small = [line for line in portfolio.underpowered if line.state is State.RUNNING]
    broken = [line for line in portfolio.waiting if line.problem]
    lists = (portfolio.left_open, portfolio.running_out, small, broken)
    return len({line.id for lines in lists for line in lines}) + len(portfolio.unreadable)


def _tiles(portfolio: Portfolio) -> list[tuple[str, str, str]]:
    concluded = [line for line in portfolio.lines if line.state is State.CONCLUDED]
    counts = [(sum(line.headline is headline for line in concluded), word) for headline, word in _WORDS.items()]
    decided = [f"{count} {word}" for count, word in counts if count]
    running = [line for line in portfolio.lines if line.state is State.RUNNING]
    drafts = [line for line in portfolio.lines if line.state is State.DRAFT]
    shipped = [line for line in concluded if line.headline is Headline.SHIP]
    ends = [line.end_ms for line in running if line.end_ms is not None and line.end_ms > portfolio.as_of_ms]
    return [
        ("Concluded", f"{len(concluded)}", ", ".join(decided)),
        ("Shipped", f"{len(shipped)} of {len(concluded)}", _together(shipped)),
        ("Running", f"{len(running)}", f"the next ends on {format_day(min(ends))}" if ends else ""),
        ("Drafts", f"{len(drafts)}", ""),
    ]


def _together(shipped: Sequence[Line]) -> str:
    """Return the effect of everything that shipped on each metric: its changes, one after the other."""
    factors: dict[Metric, float] = {}
    for line in shipped:
        if line.percent is not None:
            factors[line.metric] = factors.get(line.metric, 1.0) * (1 + line.percent.estimate / 100)
    changes = [
        f"{lowered(REGISTRY[metric].label)} {format_change(100 * (factor - 1))}" for metric, factor in factors.items()
    ]
    return f"together: {', '.join(changes)}" if changes else ""


def _left_out(portfolio: Portfolio) -> list[Block]:
    parts = []
    if portfolio.archived:
        verb = "is" if portfolio.archived == 1 else "are"
        parts.append(f"{counted(portfolio.archived, 'archived experiment')} {verb} left out.")
    if portfolio.unreadable:
        parts.append(f"{counted(len(portfolio.unreadable), 'stored experiment')} cannot be read.")
    return [blocks.paragraph(" ".join(parts), quiet=True)] if parts else []


def _decision_row(line: Line, address: str | None) -> tuple[str | Mark | Link, ...]:
    headline = line.headline or Headline.UNDECIDED
    mark = Mark(tone=charts.TONES[headline], text=_WORDS[headline])
    found = line.percent
    change = "\u2013"
    if found is not None:
        change = f"{format_change(found.estimate)} ({format_interval(found.low, found.high)})"
    made = line.decision
    came = "\u2013" if made is None else plans.grade_name(made.grade, exploratory=made.exploratory)
    state = line.state.value.lower()
    if line.concluded_at_ms is not None:
        state = f"concluded on {format_day(line.concluded_at_ms)}"
        state += f" by {line.concluded_by}" if line.concluded_by else ""
    name = f"{line.name} ({state})"
    return name if address is None else Link(address=address, text=name), mark, came, change, _reason(line)


def _left_open_sentence(line: Line, now_ms: int) -> str:
    end_ms = line.end_ms or now_ms
    control, treatment = (0 if arm is None else arm.n for arm in (line.control, line.treatment))
    return (
        f"{line.name} ended {_days(now_ms - end_ms)} ago, on {format_day(end_ms)}, with {control:,} control and "
        f"{treatment:,} treatment sessions. It would say: {_reason(line)} Freeze it with "
        f"'kaizen-analytics exp conclude {shlex.quote(line.id)}'."
    )


def _running_out_sentence(line: Line, now_ms: int) -> str:
    arm, end_ms = line.slowest, line.end_ms or now_ms
    if arm is None or arm.planned_n is None:
        raise ValueError(f"{line.id} is not running out of time.")
    which = "treatment" if arm == line.treatment else "control"
    missing, days_left = arm.planned_n - arm.n, (end_ms - now_ms) / DAY_MS
    days = (now_ms - (line.started_at_ms or now_ms)) / DAY_MS
    pace = f" of {arm.n / days:,.1f} a day" if days > 0 else ""
    return (
        f"{line.name} ends in {_days(end_ms - now_ms)}, on {format_day(end_ms)}. Its {which} arm has {arm.n:,} of "
        f"{arm.planned_n:,} planned sessions and gets to about {arm.expected_n:,} at its pace{pace}; it needs "
        f"{missing / days_left:,.1f} a day. Send more sessions its way, or accept that it may end undecided."
    )


def _underpowered_sentence(line: Line) -> str:
    verb = "ended undecided; with" if line.state is not State.RUNNING else "may miss its target: with"
    return (
        f"{line.name} {verb} {counted(line.final_n or 0, 'session')} in the smaller arm it finds changes of "
        f"{format_change(line.detectable_pct or 0.0)} or more in 80 of 100 cases, and its target is "
        f"{format_change(line.target_pct or 0.0)}. Plan more sessions, or aim at a larger change."
    )


def _waiting_sentence(line: Line, now_ms: int) -> str:
    if line.problem is not None:
        return f"{line.name} ({line.state.value.lower()}) cannot be evaluated: {line.problem}"
    since = f"{format_day(line.created_at_ms)} ({_days(now_ms - line.created_at_ms)})"
    return (
        f"{line.name} has been a draft since {since}. Start it "
        f"with 'kaizen-analytics exp start {shlex.quote(line.id)}', or archive it."
    )


def _reason(line: Line) -> str:
    """Return why it was decided so; the headline stands beside it."""
    if line.decision is None or line.verdict is None:
        return ""
    return f"{capitalised(sentences.reason(line.decision, line.verdict))}."


def _names(lines: Sequence[Line]) -> str:
    names = [line.name for line in lines[:3]]
    rest = len(lines) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _days(duration_ms: int) -> str:
    return "less than a day" if duration_ms < DAY_MS else counted(duration_ms // DAY_MS, "day")
