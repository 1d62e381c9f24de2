"""The charts of a report: one theme, drawn as SVG, twice (for a page and for a phone), with their content in words.

Text and axes take the colour of the page (`currentColor`) and the background is transparent, so that one drawing
fits light and dark pages. What is drawn is pre-aggregated: no unit rows end up in a shared file. The colours are
Okabe and Ito's (better, worse) and grey; shapes say the same as colours.
"""

from __future__ import annotations

import math
import re
import textwrap
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.reports import lean_jsonschema  # noqa: F401 - before altair
from kaizen_analytics.reports.components import Figure
from kaizen_analytics.stats.effect import format_number
from kaizen_analytics.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import altair as alt

    from kaizen_analytics.experiments.evaluation import Curve, SeriesPoint

INK = "currentColor"
_FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
"""The first font that vl-convert has is Liberation Sans, whose letters are as wide as Arial's on the page."""
_WIDE, _NARROW = 700, 330
_WIDEST_DOMAIN = (-100.0, 100.0)
"""Percent changes beyond this are cut off with an arrow: one early interval must not flatten all others."""
_MINUS = "\u2212"


class Change(StrEnum):
    """Which way an interval points; the shape of its mark."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "no clear change"


_COLOURS = {Change.BETTER: "#009e73", Change.WORSE: "#d55e00", Change.UNCLEAR: "#7f8790"}
_SHAPES = {Change.BETTER: "triangle-up", Change.WORSE: "triangle-down", Change.UNCLEAR: "circle"}
_CONTROL, _TREATMENT = "#7f8790", "#2a85c0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForestRow:
    """One line of a forest plot, in percent change; `limit` is a target or a tolerated change, if there is one."""

    label: str
    change: Change
    estimate: float
    low: float
    high: float
    limit: float | None = None


def forest(rows: Sequence[ForestRow], name: str) -> Figure:
    """Return estimates with their intervals, one line each, on a common axis of percent change.

    Args:
        rows: What to draw, top to bottom; at least one.
        name: Unique on the page; makes the ids inside the drawing unique.
    """
    domain = _forest_domain(rows)
    return Figure(
        wide=_draw(_forest_chart(rows, domain, _WIDE_FOREST), f"{name}-wide"),
        narrow=_draw(_forest_chart(rows, domain, _NARROW_FOREST), f"{name}-narrow"),
        alt=f"Percent change with its interval. {' '.join(f'{_forest_words(row)}.' for row in rows)}",
    )


def distribution(curves: Sequence[Curve], unit: str, name: str) -> Figure:
    """Return the share of sessions at or below each value, one line for each arm.

    The outermost hundredth on each side is left out; the axis is logarithmic where values spread widely.
    """
    points = [
        {"arm": curve.arm, "value": value, "share": quantile}
        for curve in curves
        for quantile, value in zip(curve.quantiles, curve.values, strict=True)
        if 0.01 <= quantile <= 0.99
    ]
    words = [f"{curve.arm}: {_quartiles(curve, unit)}" for curve in curves]
    return Figure(
        wide=_draw(_distribution_chart(points, unit, _WIDE, 260), f"{name}-wide"),
        narrow=_draw(_distribution_chart(points, unit, _NARROW, 230), f"{name}-narrow"),
        alt=f"Share of sessions at or below each value, by arm. {'; '.join(words)}.",
    )


def course(points: Sequence[SeriesPoint], target_pct: float | None, name: str) -> Figure:
    """Return the percent change as sessions came in, with its interval, and the target as a dotted line."""
    shown = [point for point in points if point.estimate is not None]
    low, high = _course_domain(shown, target_pct)
    records = [
        {
            "at": point.at_ms,
            "estimate": _within(point.estimate, low, high),
            "low": _within(point.low, low, high),
            "high": _within(point.high, low, high),
        }
        for point in shown
    ]
    return Figure(
        wide=_draw(_course_chart(records, (low, high), target_pct, _WIDE, 250), f"{name}-wide"),
        narrow=_draw(_course_chart(records, (low, high), target_pct, _NARROW, 220), f"{name}-narrow"),
        alt=_course_words(shown),
    )


def percent_text(value: float) -> str:
    """Return a percent change with its sign, one decimal up to 100 %, none beyond."""
    if math.isinf(value):
        return "no limit"
    digits = 1 if abs(value) < 100 else 0
    text = f"{abs(value):,.{digits}f}\N{NO-BREAK SPACE}%"
    return text if float(f"{value:.{digits}f}") == 0 else f"{'+' if value > 0 else _MINUS}{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _ForestLayout:
    """Where the parts of a forest plot lie, in pixels; a stacked one has its words above each interval."""

    width: int
    axis: tuple[int, int]
    values_x: int
    wrap: int
    line: int
    font: int
    stacked: bool


_PERCENT_LABEL = "datum.value == 0 ? '0 %' : datum.label + ' %'"
_WIDE_FOREST = _ForestLayout(width=_WIDE, axis=(215, 510), values_x=528, wrap=30, line=17, font=13, stacked=False)
_NARROW_FOREST = _ForestLayout(width=_NARROW, axis=(8, 322), values_x=0, wrap=44, line=16, font=13, stacked=True)


def _forest_chart(rows: Sequence[ForestRow], domain: tuple[float, float], layout: _ForestLayout) -> alt.TopLevelMixin:
    import altair as alt

    records, height = _forest_records(rows, domain, layout)
    x_scale = alt.Scale(domain=list(domain), range=list(layout.axis), nice=False, zero=False)
    x_axis = alt.Axis(
        format="+.0f", labelExpr=_PERCENT_LABEL, tickCount=5, title=None, orient="bottom", grid=not layout.stacked
    )
    y_scale = alt.Scale(domain=[0, height], range=[0, height], nice=False)
    y = alt.Y("y:Q", scale=y_scale, axis=None)
    base = alt.Chart(alt.InlineData(values=records)).encode(y=y)
    changes = [change.value for change in Change]
    colour = alt.Color("change:N", scale=alt.Scale(domain=changes, range=list(_COLOURS.values())), legend=None)
    shape = alt.Shape("change:N", scale=alt.Scale(domain=changes, range=list(_SHAPES.values())), legend=None)
    x = alt.X("low:Q", scale=x_scale, axis=x_axis)
    zero = alt.X("zero:Q", scale=x_scale, axis=x_axis)
    words: dict[str, Any] = {
        "fontSize": layout.font,
        "color": INK,
        "align": "left",
        "baseline": "middle",
        "lineBreak": "\n",
    }
    return alt.layer(
        base.mark_rule(color=INK, strokeDash=[4, 3], opacity=0.8).encode(
            x=zero, y=alt.Y("zero_top:Q", scale=y_scale, axis=None), y2="zero_bottom:Q"
        ),
        base.mark_rule(strokeWidth=4, strokeCap="round").encode(x=x, x2="high:Q", color=colour),
        _arrows(base, "cut_low", x, 270, colour),
        _arrows(base, "cut_high", alt.X("high:Q", scale=x_scale, axis=x_axis), 90, colour),
        base.transform_filter("datum.limit !== null")
        .mark_tick(color=INK, thickness=2, size=18, orient="vertical")
        .encode(x=alt.X("limit:Q", scale=x_scale, axis=x_axis)),
        base.mark_point(filled=True, size=140, opacity=1).encode(
            x=alt.X("estimate:Q", scale=x_scale, axis=x_axis), color=colour, shape=shape
        ),
        base.mark_text(**words, lineHeight=layout.line).encode(
            y=alt.Y("label_y:Q", scale=y_scale, axis=None), x=alt.value(0), text="label:N"
        ),
        base.mark_text(**words, opacity=0.85).encode(
            y=alt.Y("value_y:Q", scale=y_scale, axis=None), x=alt.value(layout.values_x), text="words:N"
        ),
    ).properties(width=layout.width, height=height)


def _arrows(base: alt.Chart, field: str, x: alt.X, angle: int, colour: alt.Color) -> alt.Chart:
    marked: alt.Chart = base.transform_filter(f"datum.{field}")
    marked = marked.mark_point(shape="triangle-up", filled=True, size=70, opacity=1, angle=angle)
    arrows: alt.Chart = marked.encode(x=x, color=colour)
    return arrows


def _forest_records(
    rows: Sequence[ForestRow],
    domain: tuple[float, float],
    layout: _ForestLayout,
) -> tuple[list[dict[str, Any]], int]:
    """Return one record per row with its place, and the height of all rows in pixels."""
    records: list[dict[str, Any]] = []
    top = 4
    for row in rows:
        lines = _wrap(row.label, layout.wrap)
        text_height = layout.line * len(lines)
        height = text_height + (2 * layout.line + 8 if layout.stacked else 13)
        label_y = top + text_height / 2 if layout.stacked else top + height / 2
        value_y = top + text_height + layout.line / 2 if layout.stacked else label_y
        y = value_y + layout.line if layout.stacked else label_y
        records.append(
            {
                **_forest_place(row, domain),
                "label": "\n".join(lines),
                # Vega centres the first line of a text, not the whole of it
                "label_y": label_y - layout.line * (len(lines) - 1) / 2,
                "words": f"{percent_text(row.estimate)} ({interval_text(row.low, row.high)})",
                "value_y": value_y,
                "y": y,
                # the line of no change: in one piece, or beside each interval where words lie between them
                "zero": 0,
                "zero_top": y - 7 if layout.stacked else top,
                "zero_bottom": y + 10 if layout.stacked else top + height,
            }
        )
        top += height
    return records, top + 4


def _wrap(label: str, width: int) -> list[str]:
    """Return a label as up to three lines; it is broken where it has a newline, and where it is too long."""
    parts = clean(label).split("\n")
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_long_words=True)]
    return [*lines[:2], "".join(lines[2:3]) + ("\u2026" if len(lines) > 3 else "")] if len(lines) > 2 else lines or [""]


def _forest_place(row: ForestRow, domain: tuple[float, float]) -> dict[str, Any]:
    low, high = domain
    return {
        "change": row.change.value,
        "estimate": _within(row.estimate, low, high),
        "low": _within(row.low, low, high),
        "high": _within(row.high, low, high),
        "cut_low": row.low < low,
        "cut_high": row.high > high,
        "limit": row.limit if row.limit is not None and low <= row.limit <= high else None,
    }


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


def interval_text(low: float, high: float) -> str:
    """Return the ends of an interval of percent change; an infinite end is left out."""
    if math.isinf(low) and math.isinf(high):
        return "no limits yet"
    if math.isinf(low):
        return f"at most {percent_text(high)}"
    if math.isinf(high):
        return f"at least {percent_text(low)}"
    return f"{percent_text(low)[:-2]} to {percent_text(high)}"


def _forest_words(row: ForestRow) -> str:
    limit = "" if row.limit is None else f", limit {percent_text(row.limit)}"
    return (
        f"{' '.join(clean(row.label).split())}: {percent_text(row.estimate)}, "
        f"interval {interval_text(row.low, row.high)}, {row.change.value}{limit}"
    )


def _distribution_chart(points: list[dict[str, Any]], unit: str, width: int, height: int) -> alt.TopLevelMixin:
    import altair as alt

    arms = list(dict.fromkeys(point["arm"] for point in points))
    values = [point["value"] for point in points]
    spread = min(values) > 0 and max(values) / min(values) > 30
    scale = alt.Scale(type="log" if spread else "linear", nice=False, zero=False)
    axis = alt.Axis(title=f"{unit}{', logarithmic' if spread else ''}", format=_axis_format(unit), tickCount=6)
    colour = alt.Color(
        "arm:N", scale=alt.Scale(domain=arms, range=[_CONTROL, _TREATMENT]), legend=alt.Legend(title=None, orient="top")
    )
    dash = alt.StrokeDash("arm:N", scale=alt.Scale(domain=arms, range=[[5, 3], [1, 0]]), legend=None)
    share = alt.Y("share:Q", axis=alt.Axis(format=".0%", title="share of sessions at or below", values=_QUARTERS))
    base = alt.Chart(alt.InlineData(values=points)).encode(x=alt.X("value:Q", scale=scale, axis=axis), y=share)
    lines = base.mark_line(strokeWidth=2.5).encode(color=colour, strokeDash=dash)
    medians = base.transform_filter("abs(datum.share - 0.5) < 0.001").mark_point(filled=True, size=90, opacity=1)
    return alt.layer(lines, medians.encode(color=colour)).properties(width=width - 60, height=height)


_QUARTERS = [0, 0.25, 0.5, 0.75, 1]


def _axis_format(unit: str) -> str:
    return ".0%" if unit == "share" else "~s" if unit in {"tokens", "count", "files", "prompts"} else "~g"


def _quartiles(curve: Curve, unit: str) -> str:
    last = len(curve.values) - 1
    lower, middle, upper = (format_number(curve.values[round(share * last)]) for share in (0.25, 0.5, 0.75))
    return f"half of the sessions are at or below {middle} {unit}, the middle half lies from {lower} to {upper}"


def _course_chart(
    records: list[dict[str, Any]],
    domain: tuple[float, float],
    target_pct: float | None,
    width: int,
    height: int,
) -> alt.TopLevelMixin:
    import altair as alt

    y_scale = alt.Scale(domain=list(domain), nice=False, zero=False)
    y_axis = alt.Axis(title="percent change", format="+.0f", labelExpr=_PERCENT_LABEL, tickCount=6)
    x_axis = alt.Axis(title=None, format="%-d %b", tickCount=width // 110, labelOverlap=True)
    x = alt.X("at:T", scale=alt.Scale(type="utc", nice=False), axis=x_axis)
    base = alt.Chart(alt.InlineData(values=records)).encode(x=x)
    rules = [{"y": 0.0, "kind": "zero"}, *([] if target_pct is None else [{"y": target_pct, "kind": "target"}])]
    lines = alt.Chart(alt.InlineData(values=rules)).encode(y=alt.Y("y:Q", scale=y_scale, axis=y_axis))
    return alt.layer(
        base.mark_area(color=_TREATMENT, opacity=0.25).encode(
            y=alt.Y("low:Q", scale=y_scale, axis=y_axis), y2=alt.Y2("high:Q")
        ),
        lines.transform_filter("datum.kind == 'zero'").mark_rule(color=INK, strokeDash=[4, 3], opacity=0.8),
        lines.transform_filter("datum.kind == 'target'").mark_rule(color=INK, strokeDash=[1, 3], strokeWidth=2),
        base.mark_line(color=_TREATMENT, strokeWidth=2.5).encode(y=alt.Y("estimate:Q", scale=y_scale, axis=y_axis)),
    ).properties(width=width - 70, height=height)


def _course_domain(points: Sequence[SeriesPoint], target_pct: float | None) -> tuple[float, float]:
    """Fit the later two thirds: the first few sessions give intervals that would flatten the rest."""
    late = points[len(points) // 3 :]
    ends = [value for point in late for value in (point.low, point.high, point.estimate) if value is not None]
    return _padded([*ends, 0.0, target_pct or 0.0])


def _course_words(points: Sequence[SeriesPoint]) -> str:
    first, last = points[0], points[-1]
    steps = [_course_step("first", first), _course_step("last", last)]
    return f"Percent change as sessions came in, {len(points)} looks. {' '.join(steps)}"


def _course_step(name: str, point: SeriesPoint) -> str:
    estimate, low, high = (0.0 if value is None else value for value in (point.estimate, point.low, point.high))
    return (
        f"The {name}, after {point.n_control} and {point.n_treatment} sessions: {percent_text(estimate)}, "
        f"interval {interval_text(low, high)}."
    )


def _theme() -> dict[str, Any]:
    """Return the Vega-Lite configuration of every chart."""
    axis = {
        "labelColor": INK,
        "titleColor": INK,
        "domainColor": INK,
        "tickColor": INK,
        "gridColor": INK,
        "gridOpacity": 0.13,
        "domainOpacity": 0.45,
        "tickOpacity": 0.45,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
    }
    legend = {"labelColor": INK, "labelFontSize": 13, "symbolType": "stroke", "symbolStrokeWidth": 3, "offset": 6}
    return {
        "font": _FONT,
        "background": "transparent",
        "padding": 2,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False, "ticks": False},
        "legend": legend,
    }


def _draw(chart: alt.TopLevelMixin, name: str) -> str:
    """Return a chart as SVG that can stand inside a page beside others."""
    import vl_convert

    # altair has checked the parts as they were made; checking the whole again takes as long as drawing it
    spec = {**chart.to_dict(validate=False), "config": _theme()}
    return _tidy(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]), name)


_NOISE = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events|xmlns:xlink|version)="[^"]*"')
_FRACTION = re.compile(r"(\d+\.\d{2})\d+")
_ID = re.compile(r'(\bid="|url\(#)')


def _tidy(svg: str, name: str) -> str:
    """Drop what a reader of the page cannot use (the figure has one description), and make ids unique and stable."""
    svg = _NOISE.sub("", svg)
    svg = _FRACTION.sub(r"\1", svg)
    svg = _ID.sub(lambda found: f"{found.group(1)}{name}-", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
