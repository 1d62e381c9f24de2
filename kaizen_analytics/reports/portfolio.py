"""The sections of the portfolio report, each a function from a `Portfolio` to a block.

Every sentence is computed. The notebook `15_portfolio` calls them in order.
"""

from __future__ import annotations

import math
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaizen_analytics.experiments.plan import DAY_MS
from kaizen_analytics.experiments.verdict import Headline
from kaizen_analytics.metrics import REGISTRY, label_metrics
from kaizen_analytics.model import Direction, State
from kaizen_analytics.reports import charts, components
from kaizen_analytics.reports.charts import Change, ForestRow, interval_text, percent_text
from kaizen_analytics.reports.components import Block, Mark, Tone
from kaizen_analytics.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.experiments.portfolio import Arm, Line, Portfolio

SHOWN = 30
"""Rows of a forest plot and of a list; more are in the JSON and the table."""
_TONES = {Headline.SHIP: Tone.GOOD, Headline.DO_NOT_SHIP: Tone.BAD, Headline.UNDECIDED: Tone.UNCLEAR}
_WORDS = {Headline.SHIP: "ship", Headline.DO_NOT_SHIP: "do not ship", Headline.UNDECIDED: "undecided"}
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
    """Return the title of the report."""
    shown = counted(len(portfolio.lines), "experiment")
    return components.title("Experiment portfolio", f"{shown} \u00b7 data as of {_time(portfolio.as_of_ms)}")


def overview(portfolio: Portfolio) -> Block:
    """Return the first box: how many experiments there are, and how many of them need somebody's attention."""
    if not portfolio.lines:
        return components.callout(
            Tone.NEUTRAL,
            "There is no experiment yet",
            components.paragraph("Plan one with 'kaizen-analytics exp new'; 'exp power' says how large it has to be."),
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
    return components.callout(
        Tone.UNCLEAR if urgent else Tone.GOOD,
        headline,
        components.tiles(_tiles(portfolio)),
        components.bullets(sentences) if sentences else components.paragraph("No experiment is late or too small."),
        *_left_out(portfolio),
    )


def outcomes(portfolio: Portfolio) -> Block:
    """Return the effect of every experiment on its own metric, the best outcome first."""
    known = [line for line in portfolio.decided if line.estimate is not None]
    if not known:
        return components.paragraph("No experiment has a percent change to show yet.")
    caption = (
        "Percent change of each experiment's own metric with its interval. Triangle up: better; triangle down: worse; "
        "circle: no clear change. A short upright line is the target, an arrow an interval that goes on. "
        f"{_hidden(len(known))}"
    )
    return components.figure(charts.forest([_forest_row(line) for line in known[:SHOWN]]), caption.strip())


def decisions(portfolio: Portfolio) -> Block:
    """Return what was decided, or would be decided today, for each experiment."""
    if not portfolio.decided:
        return components.paragraph("No experiment has been evaluated.")
    return components.table(
        ["experiment", "decision", "change and interval", "why"],
        [_decision_row(line) for line in portfolio.decided],
        caption="Concluded experiments, then running ones as they stand today",
        numeric=(2,),
    )


def left_open(portfolio: Portfolio) -> Block:
    """Return the experiments past their end that nobody concluded."""
    return _listed(
        [_left_open_sentence(line, portfolio.as_of_ms) for line in portfolio.left_open],
        "No running experiment is past its end.",
    )


def running_out(portfolio: Portfolio) -> Block:
    """Return the experiments that will have too few sessions at their end."""
    return _listed(
        [_running_out_sentence(line, portfolio.as_of_ms) for line in portfolio.running_out],
        "Every running experiment with a plan gets its sessions in time, if they come in as they did so far.",
    )


def underpowered(portfolio: Portfolio) -> Block:
    """Return the experiments that would probably miss a change of the size of their target."""
    listed = _listed(
        [_underpowered_sentence(line) for line in portfolio.underpowered],
        "No open question is asked with too few sessions, as far as the data tell.",
    )
    unknown = [line for line in portfolio.decided if line.state is State.RUNNING and _is_power_unknown(line)]
    if not unknown:
        return listed
    words = f"Too early to say, because the interval has no limits yet: {_names(unknown)}."
    return components.stack(listed, components.paragraph(words))


def waiting(portfolio: Portfolio) -> Block:
    """Return drafts that nobody started, and what could not be evaluated or read."""
    sentences = [_waiting_sentence(line, portfolio.as_of_ms) for line in portfolio.waiting]
    return _listed(
        [*sentences, *portfolio.unreadable], "No draft waits to be started, and every experiment can be evaluated."
    )


def method(portfolio: Portfolio) -> Block:
    """Return how the lists come about, and what they cannot say."""
    when = _time(portfolio.as_of_ms)
    return components.bullets([f"Running experiments are evaluated as of {when}. {_METHOD[0]}", *_METHOD[1:]])


def document(portfolio: Portfolio) -> Block:
    """Return the whole portfolio for `report.json`; it shows nothing."""
    return components.data(portfolio.to_json())


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
    ends = [line.end_ms for line in running if line.end_ms is not None and line.end_ms > portfolio.as_of_ms]
    return [
        ("Concluded", f"{len(concluded)}", ", ".join(decided)),
        ("Running", f"{len(running)}", f"the next ends on {_date(min(ends))}" if ends else ""),
        ("Drafts", f"{len(drafts)}", ""),
    ]


def _left_out(portfolio: Portfolio) -> list[Block]:
    parts = []
    if portfolio.archived:
        verb = "is" if portfolio.archived == 1 else "are"
        parts.append(f"{counted(portfolio.archived, 'archived experiment')} {verb} left out.")
    if portfolio.unreadable:
        parts.append(f"{counted(len(portfolio.unreadable), 'stored experiment')} cannot be read.")
    return [components.paragraph(" ".join(parts), quiet=True)] if parts else []


def _forest_row(line: Line) -> ForestRow:
    return ForestRow(
        label=f"{line.name}\n({line.state.value.lower()}; {_label(line)})",
        change=_change(line),
        estimate=line.estimate or 0.0,
        low=_low(line),
        high=_high(line),
        limit=line.target_pct,
    )


def _decision_row(line: Line) -> tuple[str | Mark, ...]:
    headline = line.headline or Headline.UNDECIDED
    mark = Mark(tone=_TONES[headline], text=_WORDS[headline])
    interval = interval_text(_low(line), _high(line))
    change = "\u2013" if line.estimate is None else f"{percent_text(line.estimate)} ({interval})"
    return f"{line.name} ({line.state.value.lower()})", mark, change, _reason(line)


def _left_open_sentence(line: Line, now_ms: int) -> str:
    end_ms = line.end_ms or now_ms
    return (
        f"{line.name} ended {_days(now_ms - end_ms)} ago, on {_date(end_ms)}, with {_sessions(line)}. It would say: "
        f"{_reason(line)} Freeze it with 'kaizen-analytics exp conclude {shlex.quote(line.id)}'."
    )


def _running_out_sentence(line: Line, now_ms: int) -> str:
    arm, end_ms = line.slowest, line.end_ms or now_ms
    if arm is None or arm.planned_n is None:
        raise ValueError(f"{line.id} is not running out of time.")
    which = "treatment" if arm == line.treatment else "control"
    missing, days_left = arm.planned_n - arm.n, (end_ms - now_ms) / DAY_MS
    return (
        f"{line.name} ends in {_days(end_ms - now_ms)}, on {_date(end_ms)}. Its {which} arm has {arm.n:,} of "
        f"{arm.planned_n:,} planned sessions and gets to about {arm.expected_n:,} at its pace"
        f"{_pace(line, arm, now_ms)}; it needs {missing / days_left:,.1f} a day. Send more sessions its way, or accept "
        "that it may end undecided."
    )


def _pace(line: Line, arm: Arm, now_ms: int) -> str:
    elapsed_days = (now_ms - (line.started_at_ms or now_ms)) / DAY_MS
    return f" of {arm.n / elapsed_days:,.1f} a day" if elapsed_days > 0 else ""


def _underpowered_sentence(line: Line) -> str:
    verb = "ended undecided; with" if line.state is not State.RUNNING else "may miss its target: with"
    return (
        f"{line.name} {verb} {counted(line.final_n or 0, 'session')} in the smaller arm it finds changes of "
        f"{percent_text(line.detectable_pct or 0.0)} or more in 80 of 100 cases, and its target is "
        f"{percent_text(line.target_pct or 0.0)}. Plan more sessions, or aim at a larger change."
    )


def _waiting_sentence(line: Line, now_ms: int) -> str:
    if line.problem is not None:
        return f"{line.name} ({line.state.value.lower()}) cannot be evaluated: {line.problem}"
    return (
        f"{line.name} has been a draft since {_date(line.created_at_ms)} ({_days(now_ms - line.created_at_ms)}). Start "
        f"it with 'kaizen-analytics exp start {shlex.quote(line.id)}', or archive it."
    )


def _is_power_unknown(line: Line) -> bool:
    return bool(line.target_pct) and line.detectable_pct is None


def _listed(sentences: Sequence[str], otherwise: str) -> Block:
    if not sentences:
        return components.paragraph(otherwise)
    more = [f"And {len(sentences) - SHOWN} more, in the JSON of this report."] if len(sentences) > SHOWN else []
    return components.bullets([*sentences[:SHOWN], *more])


def _hidden(known: int) -> str:
    return f"The first {SHOWN} of {known}." if known > SHOWN else ""


def _change(line: Line) -> Change:
    rising = line.better is Direction.INCREASE
    if line.low is not None and line.low > 0:
        return Change.BETTER if rising else Change.WORSE
    if line.high is not None and line.high < 0:
        return Change.WORSE if rising else Change.BETTER
    return Change.UNCLEAR


def _low(line: Line) -> float:
    return -math.inf if line.low is None else line.low


def _high(line: Line) -> float:
    return math.inf if line.high is None else line.high


def _reason(line: Line) -> str:
    """Return the decision without its headline, which stands beside it, metrics by their labels."""
    _, _, reason = (line.decision or "").partition(": ")
    named = label_metrics(reason or line.decision or "")
    return named[:1].upper() + named[1:]


def _sessions(line: Line) -> str:
    control, treatment = (0 if arm is None else arm.n for arm in (line.control, line.treatment))
    return f"{control:,} control and {treatment:,} treatment sessions"


def _names(lines: Sequence[Line]) -> str:
    names = [line.name for line in lines[:3]]
    rest = len(lines) - len(names)
    return ", ".join(names) + (f" and {rest} more" if rest else "")


def _label(line: Line) -> str:
    return REGISTRY[line.metric].label.lower()


def _days(duration_ms: int) -> str:
    return "less than a day" if duration_ms < DAY_MS else counted(duration_ms // DAY_MS, "day")


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%-d %B %Y")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
