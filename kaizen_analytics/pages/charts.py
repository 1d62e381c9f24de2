"""The charts of a report: one theme, drawn as SVG, twice (for a page and for a phone), with their content in words.

Text and axes take the colour of the page and the background is transparent, so that one drawing fits light and dark
pages. What is drawn is pre-aggregated: no unit rows end up in a shared file. The colours are
Okabe and Ito's and grey; shapes say the same as colours.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from kaizen_analytics.core.words import clean, escape_html, format_change, format_interval, format_number
from kaizen_analytics.experiments.decide import Headline
from kaizen_analytics.pages.blocks import Figure, Tone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from kaizen_analytics.experiments.evaluation import Curve, SeriesPoint
    from kaizen_analytics.stats import Interval
    from kaizen_analytics.stats.before_after import Placebo

_WIDE, _NARROW = 700, 330
_WIDEST_DOMAIN = (-100.0, 100.0)
"""Percent changes beyond this are cut off with an arrow: one early interval must not flatten all others."""
_MINUS = "\N{MINUS SIGN}"


class Movement(StrEnum):
    """Which way an interval points; the shape of its mark."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "no clear change"


CHANGES = {
    Headline.SHIP: Movement.BETTER,
    Headline.BETTER: Movement.BETTER,
    Headline.UNDECIDED: Movement.UNCLEAR,
    Headline.WORSE: Movement.WORSE,
    Headline.DO_NOT_SHIP: Movement.WORSE,
}
"""The mark of a decision."""
TONES = {
    Headline.SHIP: Tone.GOOD,
    Headline.BETTER: Tone.NEUTRAL,
    Headline.UNDECIDED: Tone.UNCLEAR,
    Headline.WORSE: Tone.UNCLEAR,
    Headline.DO_NOT_SHIP: Tone.BAD,
}
"""The tone of a decision: only what was drawn by lot is good or bad."""
COLOURS = {Movement.BETTER: "#2a85c0", Movement.WORSE: "#d55e00", Movement.UNCLEAR: "#7f8790"}
"""Blue, not green: green is for what ships, and a metric may be better in an experiment that must not."""
ARM_COLOURS = {"control": "#7f8790", "treatment": "#2a85c0"}
_CONTROL, _TREATMENT = ARM_COLOURS.values()
_ARMS = {"control": {"stroke": _CONTROL, "stroke_dasharray": "5 3"}, "treatment": {"stroke": _TREATMENT}}
_GRID: dict[str, float | str] = {"stroke_opacity": 0.13}
_AXIS: dict[str, float | str] = {"stroke_opacity": 0.45}
_NO_CHANGE: dict[str, float | str] = {"stroke_dasharray": "4 3", "stroke_opacity": 0.8}


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One line of a forest plot, in percent change; `limit` is a target or a tolerated change, if there is one."""

    label: str
    change: Movement
    estimate: float
    low: float
    high: float
    limit: float | None = None

    @classmethod
    def of(cls, label: str, interval: Interval, change: Movement, limit: float | None = None) -> ForestRow:
        """Return the line of a percent change."""
        ends = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
        return cls(label=label, change=change, limit=limit, **ends)


def forest(rows: Sequence[ForestRow]) -> Figure:
    """Return estimates with their intervals, one line each (at least one), on a common axis of percent change.

    >>> row = ForestRow(label="Cost", change=Movement.BETTER, estimate=-5.0, low=-9.0, high=-1.0)
    >>> forest([row]).alt.partition(". ")[2].partition(":")[0]
    'Cost'
    """
    words = " ".join(f"{_forest_words(row)}." for row in rows)
    return _figure(partial(_draw_forest, rows), f"Percent change with its interval. {words}")


def distribution(curves: Sequence[Curve], unit: str) -> Figure:
    """Return the share of sessions at or below each value, one line for each arm.

    The outermost hundredth on each side is left out; the axis is logarithmic where values spread widely.

    >>> distribution(evaluation.curves, "tokens").alt.partition(",")[0]
    'Share of sessions at or below each value'
    """
    words = "; ".join(f"{curve.arm}: {_quartiles(curve, unit)}" for curve in curves)
    alt = f"Share of sessions at or below each value, by arm. {words}."
    return _figure(partial(_draw_distribution, curves, unit), alt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One arm in one day or week that began at `start_ms`: its median, and how many sessions have a value."""

    arm: str
    start_ms: int
    median: float
    sessions: int


def over_time(spans: Sequence[Span], *, step_ms: int, change_ms: int, unit: str) -> Figure:
    """Return both arms over time: the median of each day or week as a line, and below it the number of sessions.

    There is one span for each arm and day or week with a session; `change_ms` is marked.

    >>> span = Span(arm="control", start_ms=0, median=5.0, sessions=2)
    >>> over_time([span], step_ms=86_400_000, change_ms=0, unit="tokens").alt.partition(": ")[0]
    'control'
    """
    words = []
    for arm in dict.fromkeys(span.arm for span in spans):
        own = [span for span in spans if span.arm == arm]
        low, high = (format_number(pick(span.median for span in own)) for pick in (min, max))
        words.append(f"{arm}: {sum(span.sessions for span in own):,} sessions, medians from {low} to {high} {unit}")
    return _figure(partial(_draw_over_time, spans, step_ms, change_ms, unit), f"{'; '.join(words)}.")


def course(points: Sequence[SeriesPoint], target_pct: float | None) -> Figure:
    """Return the percent change as sessions came in, with its interval, and the target as a dotted line.

    >>> course(evaluation.series, None).alt.startswith("Percent change")
    True
    """
    shown = [point for point in points if point.estimate is not None]
    steps = " ".join(_course_step(name, point) for name, point in (("first", shown[0]), ("last", shown[-1])))
    alt = f"Percent change as sessions came in, {len(shown)} looks. {steps}"
    return _figure(partial(_draw_course, shown, target_pct), alt)


def placebo(found: Placebo) -> Figure:
    """Return the jump at the change among the jumps at earlier dates, one dot for each date.

    >>> from kaizen_analytics.stats.before_after import Placebo
    >>> placebo(Placebo(window_days=7, days=(-28, -21), jumps=(0.5, -1.0), jump=2.0, as_large=0)).alt[:45]
    'The jump at the change, +2 standard errors, a'
    """
    alt = (
        f"The jump at the change, {_jump(found.jump)} standard errors, among {found.dates} dates of the "
        f"{-min(found.days) / 7:.0f} weeks before it, from {_jump(min(found.jumps))} to {_jump(max(found.jumps))}. "
        f"{found.as_large} of them are as large in either direction."
    )
    return _figure(partial(_draw_placebo, found), alt)


def _figure(draw: Callable[[int], str], alt: str) -> Figure:
    return Figure(wide=draw(_WIDE), narrow=draw(_NARROW), alt=alt)


_FOREST_FONT = 13


def _draw_forest(rows: Sequence[ForestRow], width: int) -> str:
    """Draw the rows one below the other: words beside each interval, or above it on a phone."""
    stacked = width == _NARROW
    start, end, values_x, wrap, line = (12, 318, 0, 44, 16) if stacked else (215, 510, 528, 30, 17)
    low, high = padded(value for row in rows for value in (row.low, row.high, row.estimate, row.limit or 0.0, 0.0))
    scale = _Scale(low=low, high=high, start=start, end=end)
    parts, top = list[str](), 4.0
    for row in rows:
        lines = _wrap(row.label, wrap)
        text_height = line * len(lines)
        height = text_height + (2 * line + 11 if stacked else 13)
        label_y = top + (0 if stacked else 6.5) + line / 2
        words_y = top + text_height + line / 2 if stacked else top + height / 2
        parts += _forest_row(row, words_y + line + 2 if stacked else words_y, scale, stacked=stacked)
        parts += [_text(0, label_y + line * n, words, font_size=_FOREST_FONT) for n, words in enumerate(lines)]
        numbers = f"{format_change(row.estimate)} ({format_interval(row.low, row.high)})"
        parts.append(_text(values_x, words_y, numbers, font_size=_FOREST_FONT, opacity=0.85))
        top += height
    foot, zero = top + 4, scale.place(0)
    ticks = [(tick, _percent_tick(tick)) for tick in scale.ticks(6)]
    # the line of no change: in one piece, or beside each interval where words lie between them
    no_change = [] if stacked else [_line(zero, 4, zero, foot - 4, **_NO_CHANGE)]
    return _drawing(width, foot + 24, [*_bottom_axis(scale, foot, ticks, grid=not stacked), *no_change, *parts])


def _forest_row(row: ForestRow, y: float, scale: _Scale, *, stacked: bool) -> Iterator[str]:
    """Yield the interval of one row, its limit, and its mark or the arrows where it leaves the axis."""
    low, estimate, high = (
        scale.place(_within(value, scale.low, scale.high)) for value in (row.low, row.estimate, row.high)
    )
    colour = COLOURS[row.change]
    if stacked:
        yield _line(scale.place(0), y - 7, scale.place(0), y + 10, **_NO_CHANGE)
    if row.limit is not None and scale.low <= row.limit <= scale.high:
        yield _line(scale.place(row.limit), y - 9, scale.place(row.limit), y + 9, stroke_width=2)
    yield _line(low, y, high, y, stroke=colour, stroke_width=4, stroke_linecap="round")
    if min(row.low, row.estimate) < scale.low:
        yield _triangle(low, y, 6, 270, fill=colour)
    if max(row.high, row.estimate) > scale.high:
        yield _triangle(high, y, 6, 90, fill=colour)
    if not scale.low <= row.estimate <= scale.high:  # beyond the axis, the arrow says so
        return
    if row.change is Movement.UNCLEAR:
        yield _circle(estimate, y, 5.6, fill=colour)
    else:
        yield _triangle(estimate, y, 8.5, 0 if row.change is Movement.BETTER else 180, fill=colour)


def _wrap(label: str, width: int) -> list[str]:
    """Return a label as up to three lines; it is broken where it has a newline, and where it is too long."""
    parts = clean(label).split("\n")
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_long_words=True)]
    return [*lines[:2], "".join(lines[2:3]) + ("\u2026" if len(lines) > 3 else "")] if len(lines) > 2 else lines or [""]


def padded(values: Iterable[float]) -> tuple[float, float]:
    """Return the range of an axis that holds percent changes, as far as they are within 100 %.

    >>> padded([0.0, -10.0, 300.0])
    (-16.6, 106.6)
    """
    finite = [value for value in values if math.isfinite(value)]
    low = max(min(finite, default=0.0), _WIDEST_DOMAIN[0])
    high = min(max(finite, default=0.0), _WIDEST_DOMAIN[1])
    margin = max(0.06 * (high - low), 1.0)
    return low - margin, high + margin


def _within(value: float | None, low: float, high: float) -> float:
    return min(max(0.0 if value is None else value, low), high)


def _forest_words(row: ForestRow) -> str:
    limit = "" if row.limit is None else f", limit {format_change(row.limit)}"
    return (
        f"{' '.join(clean(row.label).split())}: {format_change(row.estimate)}, "
        f"interval {format_interval(row.low, row.high)}, {row.change.value}{limit}"
    )


def _draw_distribution(curves: Sequence[Curve], unit: str, width: int) -> str:
    lines = [
        [(value, share) for share, value in zip(curve.quantiles, curve.values, strict=True) if 0.01 <= share <= 0.99]
        for curve in curves
    ]
    values = [value for line in lines for value, _ in line]
    low, high = min(values), max(values)
    spread = low > 0 and high / low > 30
    top, bottom = 26, 256 if width == _NARROW else 286
    x = _Scale(low=low, high=high, start=62, end=width - 12, logarithmic=spread)
    y = _Scale(low=0, high=1, start=bottom, end=top)
    ticks = [(tick, _unit_tick(tick, unit)) for tick in x.ticks(width // 70)]
    parts = [
        *_left_axis(y, x, [(share, f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)]),
        *_bottom_axis(x, bottom, ticks, top=top),
        _text((x.start + x.end) / 2, bottom + 38, f"{unit}{', logarithmic' if spread else ''}", text_anchor="middle"),
        _upright("share of sessions at or below", (top + bottom) / 2),
    ]
    legend_x = x.start
    for curve, line in zip(curves, lines, strict=True):
        style = _ARMS[curve.arm]
        places = [(x.place(value), y.place(share)) for value, share in line]
        parts.append(_path(places, stroke_width=2.5, stroke_linejoin="round", **style))
        middle = min(line, key=lambda point: abs(point[1] - 0.5))
        parts.append(_circle(x.place(middle[0]), y.place(middle[1]), 5, fill=style["stroke"]))
        entry, legend_x = _legend_entry(curve.arm, legend_x)
        parts += entry
    return _drawing(width, bottom + 48, parts)


def _legend_entry(arm: str, x: float) -> tuple[list[str], float]:
    """Return the line and the name of an arm above a chart, and where the next arm's begin."""
    line = _line(x, 9, x + 18, 9, stroke_width=3, **_ARMS[arm])
    return [line, _text(x + 24, 9, arm, font_size=13)], x + 24 + 8 * len(arm) + 18


def _bottom_axis(
    scale: _Scale, y: float, ticks: Sequence[tuple[float, str]], *, top: float = 4, grid: bool = True
) -> Iterator[str]:
    """Yield the axis at the foot of a drawing, with lines up to the height `top`."""
    yield _line(scale.start, y, scale.end, y, **_AXIS)
    for value, words in ticks:
        at = scale.place(value)
        if grid:
            yield _line(at, top, at, y, **_GRID)
        yield _line(at, y, at, y + 5, **_AXIS)
        yield _text(at, y + 15, words, text_anchor="middle")


def _left_axis(scale: _Scale, across: _Scale, ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield the values at the left edge, with lines over the width of the scale `across`."""
    for value, words in ticks:
        at = scale.place(value)
        yield _line(across.start, at, across.end, at, **_GRID)
        yield _text(across.start - 8, at, words, text_anchor="end")


def _upright(words: str, y: float) -> str:
    middle = _text(0, 0, words, text_anchor="middle")
    return f'<g transform="translate(8 {y:g}) rotate(-90)">{middle}</g>'


def _percent_tick(value: float) -> str:
    sign = "" if value == 0 else "+" if value > 0 else _MINUS
    return f"{sign}{abs(value):g}\N{NO-BREAK SPACE}%"


def _unit_tick(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:g} %"
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if unit in _COUNTED and abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:,.6g}"


_COUNTED = frozenset({"tokens", "count", "files", "prompts"})


def _quartiles(curve: Curve, unit: str) -> str:
    last = len(curve.values) - 1
    lower, middle, upper = (format_number(curve.values[round(share * last)]) for share in (0.25, 0.5, 0.75))
    return f"half of the sessions are at or below {middle} {unit}, the middle half lies from {lower} to {upper}"


def _draw_over_time(spans: Sequence[Span], step_ms: int, change_ms: int, unit: str, width: int) -> str:
    values = [span.median for span in spans]
    spread = min(values) > 0 and max(values) / min(values) > 30
    first, last = min(span.start_ms for span in spans), max(span.start_ms for span in spans)
    x = _Scale(low=min(first, change_ms), high=last + step_ms, start=62, end=width - 12)
    top, foot, base = 26, 196, 262
    low = min(values) if spread else min(0.0, *values)
    y = _Scale(low=low, high=max(values), start=foot, end=top, logarithmic=spread)
    most = max(span.sessions for span in spans)
    count = _Scale(low=0, high=most, start=base, end=foot + 22)
    days = [(float(ms), day) for ms, day in _time_ticks(int(x.low), last, width // 75)]
    at, bar = x.place(change_ms), max(1.5, 0.4 * (x.place(first + step_ms) - x.place(first)))
    parts = [
        *_left_axis(y, x, [(tick, _unit_tick(tick, unit)) for tick in y.ticks(5)]),
        *_left_axis(count, x, [(0.0, "0"), (float(most), f"{most:,}")]),
        *_bottom_axis(x, base, days, grid=False),
        _line(at, top, at, base, **_NO_CHANGE),
        _upright(unit, (top + foot) / 2),
        _upright("sessions", (foot + 22 + base) / 2),
    ]
    legend_x = x.start
    for arm in sorted({span.arm for span in spans}):
        style = _ARMS[arm]
        own = sorted((span for span in spans if span.arm == arm), key=lambda span: span.start_ms)
        middles = [(x.place(span.start_ms + step_ms / 2), span) for span in own]
        parts.append(_path([(mid, y.place(span.median)) for mid, span in middles], stroke_width=2, **style))
        for mid, span in middles:
            parts.append(_circle(mid, y.place(span.median), 3, fill=style["stroke"]))
            left = mid - bar if arm == "control" else mid
            corners = [(left, base), (left, count.place(span.sessions)), (left + bar, count.place(span.sessions))]
            parts.append(_area([*corners, (left + bar, base)], fill=style["stroke"]))
        entry, legend_x = _legend_entry(arm, legend_x)
        parts += entry
    return _drawing(width, base + 26, parts)


def _draw_course(points: Sequence[SeriesPoint], target_pct: float | None, width: int) -> str:
    # Fit the last value and the later two thirds: the first sessions give intervals that would flatten the rest.
    late = points[len(points) // 3 :]
    ends = [value for point in late for value in (point.low, point.high, point.estimate) if value is not None]
    low, high = padded([*ends, 0.0, target_pct or 0.0])
    final = 1.2 * (points[-1].estimate or 0.0)
    low, high = min(low, final), max(high, final)
    first, last = points[0].at_ms, points[-1].at_ms
    foot = 224 if width == _NARROW else 254
    x = _Scale(low=first, high=last, start=70, end=width - 20)
    y = _Scale(low=low, high=high, start=foot, end=4)

    def trace(read: Callable[[SeriesPoint], float | None]) -> list[tuple[float, float]]:
        return [(x.place(point.at_ms), y.place(_within(read(point), low, high))) for point in points]

    band = [*trace(lambda point: point.low), *reversed(trace(lambda point: point.high))]
    estimates = trace(lambda point: point.estimate)
    days = [(float(at_ms), name) for at_ms, name in _time_ticks(first, last, width // 75)]
    target = [] if target_pct is None else [y.place(target_pct)]
    parts = [
        *_left_axis(y, x, [(tick, _percent_tick(tick)) for tick in y.ticks(7)]),
        *_bottom_axis(x, y.start, days),
        _area(band, fill=_TREATMENT, fill_opacity=0.25),
        _line(x.start, y.place(0), x.end, y.place(0), **_NO_CHANGE),
        *(_line(x.start, at, x.end, at, stroke_width=2, stroke_dasharray="1 3") for at in target),
        _path(estimates, stroke=_TREATMENT, stroke_width=2.5, stroke_linejoin="round"),
        _upright("percent change", (y.start + y.end) / 2),
    ]
    return _drawing(width, foot + 26, parts)


def _draw_placebo(found: Placebo, width: int) -> str:
    reach = 1.15 * max(1.0, abs(found.jump), *(abs(jump) for jump in found.jumps))
    x = _Scale(low=min(found.days) - 2, high=4, start=58, end=width - 12)
    y = _Scale(low=-reach, high=reach, start=144, end=4)
    step = 7 * math.ceil(-min(found.days) / 7 / (width // 80))
    weeks = [(float(day), f"{_MINUS}{-day // 7} wk") for day in range(-step, min(found.days) - 3, -step)]
    size = abs(found.jump)
    parts = [
        *_left_axis(y, x, [(tick, _jump(tick)) for tick in y.ticks(5)]),
        *_bottom_axis(x, y.start, [(0.0, "change"), *weeks], grid=False),
        _line(x.start, y.place(0), x.end, y.place(0), **_NO_CHANGE),
        *(_line(x.start, y.place(at), x.end, y.place(at), stroke_dasharray="1 3") for at in (-size, size)),
        *(
            _circle(x.place(day), y.place(jump), 3.5, fill=_CONTROL)
            for day, jump in zip(found.days, found.jumps, strict=True)
        ),
        _circle(x.place(0), y.place(found.jump), 7, fill=_TREATMENT),
        _upright("jump, in standard errors", (y.start + y.end) / 2),
    ]
    return _drawing(width, 170, parts)


def _jump(value: float) -> str:
    return f"{value:+.3g}".replace("-", _MINUS) if value else "0"


def _course_step(name: str, point: SeriesPoint) -> str:
    estimate, low, high = (0.0 if value is None else value for value in (point.estimate, point.low, point.high))
    return (
        f"The {name}, after {point.n_control} and {point.n_treatment} sessions: {format_change(estimate)}, "
        f"interval {format_interval(low, high)}."
    )


# Drawing by hand: scales with round ticks, and elements that take font and colour from the page.

INK = "currentColor"
FONT = "Arial, 'Liberation Sans', Helvetica, 'DejaVu Sans', sans-serif"
_RISE = 0.35
"""From the middle of a line of text down to its base line, in units of the font size."""
_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_MONDAY_MS = 4 * _DAY_MS
"""The first Monday of the Unix epoch, on which ticks of whole weeks fall."""
_TIME_STEPS_MS = (
    *(minutes * _MINUTE_MS for minutes in (1, 5, 15, 30)),
    *(hours * _HOUR_MS for hours in (1, 3, 6, 12)),
    *(days * _DAY_MS for days in (1, 2, 7, 14, 28, 91, 182, 364, 728, 3640, 36400)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`, evenly or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, in pixels; in the middle if all values are one."""
        low, high, at = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self, most: int) -> list[float]:
        """Return at most `most` round values (at least one, if there is one) inside the scale."""
        return _log_ticks(self.low, self.high, most) if self.logarithmic else _linear_ticks(self.low, self.high, most)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Return the multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most `most` of them."""
    if not high > low:
        return [low]
    power = math.floor(math.log10((high - low) / most))
    steps = [base * 10.0**exponent for exponent in (power, power + 1, power + 2) for base in (1, 2, 5)]
    step, numbers = _choose_step(low, high, most, steps)
    return [float(f"{number * step:.12g}") for number in numbers]


def _choose_step(low: float, high: float, most: int, steps: Sequence[float]) -> tuple[float, range]:
    """Return the first step of which at most `most` multiples lie in a range, else the last; and their numbers."""
    for step in steps:
        numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
        if len(numbers) <= most:
            break
    return step, numbers


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values that are evenly spread on a logarithmic scale, at most `most` of them."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for bases, every in (((1, 2, 5), 1), ((1, 3), 1), *(((1,), every) for every in range(1, len(exponents) + 1))):
        found = [base * 10.0**exponent for exponent in exponents if exponent % every == 0 for base in bases]
        inside = [float(f"{value:.12g}") for value in found if low <= value <= high]
        if len(inside) <= most:
            return inside
    return []


def _time_ticks(start_ms: int, end_ms: int, most: int) -> list[tuple[int, str]]:
    """Return at most `most` round moments in UTC with their names: days, or times of day within two days."""
    step, numbers = _choose_step(start_ms - _MONDAY_MS, end_ms - _MONDAY_MS, most, _TIME_STEPS_MS)
    form = "%H:%M" if step < _DAY_MS else "%-d %b %Y" if step > 91 * _DAY_MS else "%-d %b"
    moments = [_MONDAY_MS + number * int(step) for number in numbers]
    return [(moment, datetime.fromtimestamp(moment / 1000, UTC).strftime(form)) for moment in moments]


def _drawing(width: float, height: float, parts: Iterable[str]) -> str:
    """Return parts as one drawing; the figure around it carries its description."""
    return (
        f'<svg aria-hidden="true" focusable="false" xmlns="http://www.w3.org/2000/svg" width="{_short(width)}" '
        f'height="{_short(height)}" viewBox="0 0 {_short(width)} {_short(height)}" font-family="{FONT}" '
        f'font-size="12" fill="{INK}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, words: str, **attributes: float | str) -> str:
    """Return one line of text, its middle at the height `y`; `font_size` is 12 unless given."""
    size = float(attributes.get("font_size", 12))
    return f"<text{_attributes({'x': x, 'y': y + _RISE * size, **attributes})}>{escape_html(words)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, **attributes: float | str) -> str:
    """Return a straight line."""
    return _path([(x1, y1), (x2, y2)], **attributes)


def _path(points: Sequence[tuple[float, float]], **attributes: float | str) -> str:
    """Return a line through `points`."""
    return f'<path d="M{_way(points)}"{_attributes({"fill": "none", "stroke": INK, **attributes})}/>'


def _area(points: Sequence[tuple[float, float]], **attributes: float | str) -> str:
    """Return the area within `points`."""
    return f'<path d="M{_way(points)}Z"{_attributes(attributes)}/>'


def _circle(x: float, y: float, radius: float, **attributes: float | str) -> str:
    """Return a filled circle."""
    return f"<circle{_attributes({'cx': x, 'cy': y, 'r': radius, **attributes})}/>"


def _triangle(x: float, y: float, size: float, angle: float, **attributes: float | str) -> str:
    """Return a filled triangle around a point, its tip upward at an angle of 0, to the right at 90."""
    turns = (math.radians(angle + 120 * corner) for corner in range(3))
    corners = [(x + size * math.sin(turn), y - size * math.cos(turn)) for turn in turns]
    return _area(corners, **attributes)


def _way(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_short(x)},{_short(y)}" for x, y in points)


def _attributes(values: dict[str, float | str]) -> str:
    return "".join(
        f' {name.replace("_", "-")}="{value if isinstance(value, str) else _short(value)}"'
        for name, value in values.items()
    )


def _short(value: float) -> str:
    """Return a number to a tenth of a pixel (smaller ones to three digits), without what is not needed."""
    rounded = round(value, 1 if abs(value) >= 1 else 3)
    return f"{rounded:g}" if abs(rounded) < 1e5 else f"{rounded:.0f}"
