"""The charts of a report: one theme, drawn as SVG, twice (for a page and for a phone), with their content in words.

Text and axes take the colour of the page and the background is transparent, so that one drawing fits light and dark
pages. What is drawn is pre-aggregated: no unit rows end up in a shared file. The colours are
Okabe and Ito's and grey; shapes say the same as colours.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.core.words import clean, format_change, format_interval, format_number
from kaizen_analytics.experiments.decide import Headline
from kaizen_analytics.pages import svg
from kaizen_analytics.pages.blocks import Figure, Tone
from kaizen_analytics.pages.svg import Scale

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
_COLOURS = {Movement.BETTER: "#2a85c0", Movement.WORSE: "#d55e00", Movement.UNCLEAR: "#7f8790"}
"""Blue, not green: green is for what ships, and a metric may be better in an experiment that must not."""
_CONTROL, _TREATMENT = "#7f8790", "#2a85c0"
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
    """Return estimates with their intervals, one line each, on a common axis of percent change.

    Args:
        rows: What to draw, top to bottom; at least one.

    >>> row = ForestRow(label="Cost", change=Movement.BETTER, estimate=-5.0, low=-9.0, high=-1.0)
    >>> forest([row]).alt.partition(". ")[2].partition(":")[0]
    'Cost'
    """
    domain = _forest_domain(rows)
    return Figure(
        wide=_draw_forest(rows, domain, _WIDE_FOREST),
        narrow=_draw_forest(rows, domain, _NARROW_FOREST),
        alt=f"Percent change with its interval. {' '.join(f'{_forest_words(row)}.' for row in rows)}",
    )


def distribution(curves: Sequence[Curve], unit: str) -> Figure:
    """Return the share of sessions at or below each value, one line for each arm.

    The outermost hundredth on each side is left out; the axis is logarithmic where values spread widely.

    >>> distribution(analysis.evaluate("plan-first").curves, "tokens").alt.partition(",")[0]
    'Share of sessions at or below each value'
    """
    words = [f"{curve.arm}: {_quartiles(curve, unit)}" for curve in curves]
    return Figure(
        wide=_draw_distribution(curves, unit, _WIDE, 260),
        narrow=_draw_distribution(curves, unit, _NARROW, 230),
        alt=f"Share of sessions at or below each value, by arm. {'; '.join(words)}.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One arm in one day or week that began at `start_ms`: its median, and how many sessions have a value."""

    arm: str
    start_ms: int
    median: float
    sessions: int


def over_time(spans: Sequence[Span], *, step_ms: int, change_ms: int, unit: str) -> Figure:
    """Return both arms over time: the median of each day or week as a line, and below it the number of sessions.

    Args:
        spans: One for each arm and day or week with a session; at least one.
        step_ms: Length of a span.
        change_ms: The moment that is marked.
        unit: The unit of the metric.

    >>> span = Span(arm="control", start_ms=0, median=5.0, sessions=2)
    >>> over_time([span], step_ms=86_400_000, change_ms=0, unit="tokens").alt.partition(": ")[0]
    'control'
    """
    words = []
    for arm in dict.fromkeys(span.arm for span in spans):
        own = [span for span in spans if span.arm == arm]
        low, high = (format_number(pick(span.median for span in own)) for pick in (min, max))
        words.append(f"{arm}: {sum(span.sessions for span in own):,} sessions, medians from {low} to {high} {unit}")
    return Figure(
        wide=_draw_over_time(spans, step_ms, change_ms, unit, _WIDE),
        narrow=_draw_over_time(spans, step_ms, change_ms, unit, _NARROW),
        alt=f"{'; '.join(words)}.",
    )


def course(points: Sequence[SeriesPoint], target_pct: float | None) -> Figure:
    """Return the percent change as sessions came in, with its interval, and the target as a dotted line.

    >>> course(analysis.evaluate("plan-first").series, None).alt.startswith("Percent change")
    True
    """
    shown = [point for point in points if point.estimate is not None]
    return Figure(
        wide=_draw_course(shown, target_pct, _WIDE, 250),
        narrow=_draw_course(shown, target_pct, _NARROW, 220),
        alt=_course_words(shown),
    )


def placebo(found: Placebo) -> Figure:
    """Return the jump at the change among the jumps at earlier dates, one dot for each date.

    >>> from kaizen_analytics.stats.before_after import Placebo
    >>> placebo(Placebo(window_days=7, days=(-28, -21), jumps=(0.5, -1.0), jump=2.0, as_large=0)).alt[:45]
    'The jump at the change, +2 standard errors, a'
    """
    weeks = -min(found.days) / 7
    return Figure(
        wide=_draw_placebo(found, _WIDE, 140),
        narrow=_draw_placebo(found, _NARROW, 140),
        alt=(
            f"The jump at the change, {_jump(found.jump)} standard errors, among {found.dates} dates of the "
            f"{weeks:.0f} weeks before it, from {_jump(min(found.jumps))} to {_jump(max(found.jumps))}. "
            f"{found.as_large} of them are as large in either direction."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForestLayout:
    """Where the parts of a forest plot lie, in pixels; a stacked one has its words above each interval."""

    width: int
    axis: tuple[int, int]
    values_x: int
    wrap: int
    line: int
    stacked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one line of a forest plot lies: its label in `lines`, its words and its interval, as heights in pixels."""

    row: ForestRow
    lines: list[str]
    label_y: float
    words_y: float
    y: float


_WIDE_FOREST = _ForestLayout(width=_WIDE, axis=(215, 510), values_x=528, wrap=30, line=17, stacked=False)
_NARROW_FOREST = _ForestLayout(width=_NARROW, axis=(12, 318), values_x=0, wrap=44, line=16, stacked=True)
_FOREST_FONT = 13


def _draw_forest(rows: Sequence[ForestRow], domain: tuple[float, float], layout: _ForestLayout) -> str:
    places, height = _forest_places(rows, layout)
    scale = Scale(low=domain[0], high=domain[1], start=layout.axis[0], end=layout.axis[1])
    zero = scale.place(0)
    return svg.drawing(
        layout.width,
        height + 24,
        [
            *_bottom_axis(
                scale, height, [(tick, _percent_tick(tick)) for tick in scale.ticks(6)], grid=not layout.stacked
            ),
            # the line of no change: in one piece, or beside each interval where words lie between them
            *([] if layout.stacked else [svg.line(zero, 4, zero, height - 4, **_NO_CHANGE)]),
            *(part for place in places for part in _forest_row(place, scale, layout)),
        ],
    )


def _forest_row(place: _Place, scale: Scale, layout: _ForestLayout) -> Iterator[str]:
    """Yield the parts of one line: what its words say, and above all that its interval."""
    row, y = place.row, place.y
    low, estimate, high = (
        scale.place(_within(value, scale.low, scale.high)) for value in (row.low, row.estimate, row.high)
    )
    paint = {"fill": _COLOURS[row.change]}
    if layout.stacked:
        yield svg.line(scale.place(0), y - 7, scale.place(0), y + 10, **_NO_CHANGE)
    if row.limit is not None and scale.low <= row.limit <= scale.high:
        yield svg.line(scale.place(row.limit), y - 9, scale.place(row.limit), y + 9, stroke_width=2)
    yield svg.line(low, y, high, y, stroke=_COLOURS[row.change], stroke_width=4, stroke_linecap="round")
    if min(row.low, row.estimate) < scale.low:
        yield svg.triangle(low, y, 6, 270, **paint)
    if max(row.high, row.estimate) > scale.high:
        yield svg.triangle(high, y, 6, 90, **paint)
    if scale.low <= row.estimate <= scale.high:  # beyond the axis, the arrow says so
        yield _forest_mark(row.change, estimate, y)
    for number, words in enumerate(place.lines):
        yield svg.text(0, place.label_y + layout.line * number, words, font_size=_FOREST_FONT)
    numbers = f"{format_change(row.estimate)} ({format_interval(row.low, row.high)})"
    yield svg.text(layout.values_x, place.words_y, numbers, font_size=_FOREST_FONT, opacity=0.85)


def _forest_mark(change: Movement, x: float, y: float) -> str:
    if change is Movement.UNCLEAR:
        return svg.circle(x, y, 5.6, fill=_COLOURS[change])
    return svg.triangle(x, y, 8.5, 0 if change is Movement.BETTER else 180, fill=_COLOURS[change])


def _forest_places(rows: Sequence[ForestRow], layout: _ForestLayout) -> tuple[list[_Place], float]:
    """Return the place of each row, and the height of all rows in pixels."""
    places: list[_Place] = []
    top = 4.0
    for row in rows:
        lines = _wrap(row.label, layout.wrap)
        text_height = layout.line * len(lines)
        height = text_height + (2 * layout.line + 11 if layout.stacked else 13)
        label_y = top + (0 if layout.stacked else 6.5) + layout.line / 2
        words_y = top + text_height + layout.line / 2 if layout.stacked else top + height / 2
        y = words_y + layout.line + 2 if layout.stacked else words_y
        places.append(_Place(row=row, lines=lines, label_y=label_y, words_y=words_y, y=y))
        top += height
    return places, top + 4


def _wrap(label: str, width: int) -> list[str]:
    """Return a label as up to three lines; it is broken where it has a newline, and where it is too long."""
    parts = clean(label).split("\n")
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_long_words=True)]
    return [*lines[:2], "".join(lines[2:3]) + ("\u2026" if len(lines) > 3 else "")] if len(lines) > 2 else lines or [""]


def _forest_domain(rows: Sequence[ForestRow]) -> tuple[float, float]:
    ends = [value for row in rows for value in (row.low, row.high, row.estimate, row.limit or 0.0)]
    return _padded([*ends, 0.0])


def _padded(values: Iterable[float]) -> tuple[float, float]:
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


def _draw_distribution(curves: Sequence[Curve], unit: str, width: int, height: int) -> str:
    lines = [
        [(value, share) for share, value in zip(curve.quantiles, curve.values, strict=True) if 0.01 <= share <= 0.99]
        for curve in curves
    ]
    values = [value for line in lines for value, _ in line]
    low, high = min(values), max(values)
    spread = low > 0 and high / low > 30
    top, bottom = 26, 26 + height
    x = Scale(low=low, high=high, start=62, end=width - 12, logarithmic=spread)
    y = Scale(low=0, high=1, start=bottom, end=top)
    ticks = [(tick, _unit_tick(tick, unit)) for tick in x.ticks(width // 70)]
    parts = [
        *_left_axis(y, x, [(share, f"{100 * share:.0f} %") for share in (0, 0.25, 0.5, 0.75, 1)]),
        *_bottom_axis(x, bottom, ticks, top=top),
        svg.text(
            (x.start + x.end) / 2, bottom + 38, f"{unit}{', logarithmic' if spread else ''}", text_anchor="middle"
        ),
        _upright("share of sessions at or below", (top + bottom) / 2),
    ]
    legend_x = x.start
    for curve, line in zip(curves, lines, strict=True):
        style = _ARMS[curve.arm]
        places = [(x.place(value), y.place(share)) for value, share in line]
        parts.append(svg.path(places, stroke_width=2.5, stroke_linejoin="round", **style))
        middle = min(line, key=lambda point: abs(point[1] - 0.5))
        parts.append(svg.circle(x.place(middle[0]), y.place(middle[1]), 5, fill=style["stroke"]))
        entry, legend_x = _legend_entry(curve.arm, legend_x)
        parts += entry
    return svg.drawing(width, bottom + 48, parts)


def _legend_entry(arm: str, x: float) -> tuple[list[str], float]:
    """Return the line and the name of an arm above a chart, and where the next arm's begin."""
    line = svg.line(x, 9, x + 18, 9, stroke_width=3, **_ARMS[arm])
    return [line, svg.text(x + 24, 9, arm, font_size=13)], x + 24 + 8 * len(arm) + 18


def _bottom_axis(
    scale: Scale,
    y: float,
    ticks: Sequence[tuple[float, str]],
    *,
    top: float = 4,
    grid: bool = True,
) -> Iterator[str]:
    """Yield the axis at the foot of a drawing, with lines up to the height `top`."""
    yield svg.line(scale.start, y, scale.end, y, **_AXIS)
    for value, words in ticks:
        at = scale.place(value)
        if grid:
            yield svg.line(at, top, at, y, **_GRID)
        yield svg.line(at, y, at, y + 5, **_AXIS)
        yield svg.text(at, y + 15, words, text_anchor="middle")


def _left_axis(scale: Scale, across: Scale, ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield the values at the left edge, with lines over the width of the scale `across`."""
    for value, words in ticks:
        at = scale.place(value)
        yield svg.line(across.start, at, across.end, at, **_GRID)
        yield svg.text(across.start - 8, at, words, text_anchor="end")


def _upright(words: str, y: float) -> str:
    return svg.group([svg.text(0, 0, words, text_anchor="middle")], transform=f"translate(8 {y:g}) rotate(-90)")


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
    x = Scale(low=min(first, change_ms), high=last + step_ms, start=62, end=width - 12)
    top, foot, base = 26, 196, 262
    low = min(values) if spread else min(0.0, *values)
    y = Scale(low=low, high=max(values), start=foot, end=top, logarithmic=spread)
    most = max(span.sessions for span in spans)
    count = Scale(low=0, high=most, start=base, end=foot + 22)
    days = [(float(ms), day) for ms, day in svg.time_ticks(int(x.low), last, width // 75)]
    at, bar = x.place(change_ms), max(1.5, 0.4 * (x.place(first + step_ms) - x.place(first)))
    parts = [
        *_left_axis(y, x, [(tick, _unit_tick(tick, unit)) for tick in y.ticks(5)]),
        *_left_axis(count, x, [(0.0, "0"), (float(most), f"{most:,}")]),
        *_bottom_axis(x, base, days, grid=False),
        svg.line(at, top, at, base, **_NO_CHANGE),
        _upright(unit, (top + foot) / 2),
        _upright("sessions", (foot + 22 + base) / 2),
    ]
    legend_x = x.start
    for arm in sorted({span.arm for span in spans}):
        style = _ARMS[arm]
        own = sorted((span for span in spans if span.arm == arm), key=lambda span: span.start_ms)
        middles = [(x.place(span.start_ms + step_ms / 2), span) for span in own]
        parts.append(svg.path([(mid, y.place(span.median)) for mid, span in middles], stroke_width=2, **style))
        for mid, span in middles:
            parts.append(svg.circle(mid, y.place(span.median), 3, fill=style["stroke"]))
            left = mid - bar if arm == "control" else mid
            corners = [(left, base), (left, count.place(span.sessions)), (left + bar, count.place(span.sessions))]
            parts.append(svg.area([*corners, (left + bar, base)], fill=style["stroke"]))
        entry, legend_x = _legend_entry(arm, legend_x)
        parts += entry
    return svg.drawing(width, base + 26, parts)


def _draw_course(points: Sequence[SeriesPoint], target_pct: float | None, width: int, height: int) -> str:
    low, high = _course_domain(points, target_pct)
    first, last = points[0].at_ms, points[-1].at_ms
    x = Scale(low=first, high=last, start=70, end=width - 20)
    y = Scale(low=low, high=high, start=4 + height, end=4)

    def trace(read: Callable[[SeriesPoint], float | None]) -> list[tuple[float, float]]:
        return [(x.place(point.at_ms), y.place(_within(read(point), low, high))) for point in points]

    band = [*trace(lambda point: point.low), *reversed(trace(lambda point: point.high))]
    estimates = trace(lambda point: point.estimate)
    days = [(float(at_ms), name) for at_ms, name in svg.time_ticks(first, last, width // 75)]
    target = [] if target_pct is None else [y.place(target_pct)]
    parts = [
        *_left_axis(y, x, [(tick, _percent_tick(tick)) for tick in y.ticks(7)]),
        *_bottom_axis(x, y.start, days),
        svg.area(band, fill=_TREATMENT, fill_opacity=0.25),
        svg.line(x.start, y.place(0), x.end, y.place(0), **_NO_CHANGE),
        *(svg.line(x.start, at, x.end, at, stroke_width=2, stroke_dasharray="1 3") for at in target),
        svg.path(estimates, stroke=_TREATMENT, stroke_width=2.5, stroke_linejoin="round"),
        _upright("percent change", (y.start + y.end) / 2),
    ]
    return svg.drawing(width, 4 + height + 26, parts)


def _draw_placebo(found: Placebo, width: int, height: int) -> str:
    reach = 1.15 * max(1.0, abs(found.jump), *(abs(jump) for jump in found.jumps))
    x = Scale(low=min(found.days) - 2, high=4, start=58, end=width - 12)
    y = Scale(low=-reach, high=reach, start=4 + height, end=4)
    step = 7 * math.ceil(-min(found.days) / 7 / (width // 80))
    weeks = [(float(day), f"{_MINUS}{-day // 7} wk") for day in range(-step, min(found.days) - 3, -step)]
    size = abs(found.jump)
    parts = [
        *_left_axis(y, x, [(tick, _jump(tick)) for tick in y.ticks(5)]),
        *_bottom_axis(x, y.start, [(0.0, "change"), *weeks], grid=False),
        svg.line(x.start, y.place(0), x.end, y.place(0), **_NO_CHANGE),
        *(svg.line(x.start, y.place(at), x.end, y.place(at), stroke_dasharray="1 3") for at in (-size, size)),
        *(
            svg.circle(x.place(day), y.place(jump), 3.5, fill=_CONTROL)
            for day, jump in zip(found.days, found.jumps, strict=True)
        ),
        svg.circle(x.place(0), y.place(found.jump), 7, fill=_TREATMENT),
        _upright("jump, in standard errors", (y.start + y.end) / 2),
    ]
    return svg.drawing(width, 4 + height + 26, parts)


def _jump(value: float) -> str:
    return f"{value:+.3g}".replace("-", _MINUS) if value else "0"


def _course_domain(points: Sequence[SeriesPoint], target_pct: float | None) -> tuple[float, float]:
    """Fit the last value and the later two thirds: the first sessions give intervals that would flatten the rest."""
    late = points[len(points) // 3 :]
    ends = [value for point in late for value in (point.low, point.high, point.estimate) if value is not None]
    low, high = _padded([*ends, 0.0, target_pct or 0.0])
    last = points[-1].estimate or 0.0
    return min(low, 1.2 * last), max(high, 1.2 * last)


def _course_words(points: Sequence[SeriesPoint]) -> str:
    first, last = points[0], points[-1]
    steps = [_course_step("first", first), _course_step("last", last)]
    return f"Percent change as sessions came in, {len(points)} looks. {' '.join(steps)}"


def _course_step(name: str, point: SeriesPoint) -> str:
    estimate, low, high = (0.0 if value is None else value for value in (point.estimate, point.low, point.high))
    return (
        f"The {name}, after {point.n_control} and {point.n_treatment} sessions: {format_change(estimate)}, "
        f"interval {format_interval(low, high)}."
    )
