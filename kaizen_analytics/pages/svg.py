"""Drawing SVG by hand: scales with round ticks, and elements that take font and colour from the page.

A drawing holds no id, no script, no style sheet and no number that is not needed, so it can stand inside any page
beside others, is small, and is the same each time. Text is escaped here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kaizen_analytics.core.words import escape_html

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kaizen_analytics.stats import Interval

INK = "currentColor"
FONT = "Arial, 'Liberation Sans', Helvetica, 'DejaVu Sans', sans-serif"
_RISE = 0.35
"""From the middle of a line of text down to its base line, in units of the font size."""
_BAR = (160.0, 16.0)
"""Width and height of an interval beside a row of a table."""
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
class Scale:
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
    """Return the multiples of 1, 2 or 5 times a power of ten from `low` to `high`, at most `most` of them.

    >>> _linear_ticks(0, 23, most=4)
    [0.0, 10.0, 20.0]
    """
    if not high > low:
        return [low]
    power = math.floor(math.log10((high - low) / most))
    steps = (base * 10.0**exponent for exponent in (power, power + 1, power + 2) for base in (1, 2, 5))
    for step in steps:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    raise AssertionError("a step of ten times the range leaves at most two ticks")


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values that are evenly spread on a logarithmic scale, at most `most` of them.

    >>> _log_ticks(1, 1000, most=4)
    [1.0, 10.0, 100.0, 1000.0]
    """
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for bases, every in (((1, 2, 5), 1), ((1, 3), 1), *(((1,), every) for every in range(1, len(exponents) + 1))):
        found = [base * 10.0**exponent for exponent in exponents if exponent % every == 0 for base in bases]
        inside = [float(f"{value:.12g}") for value in found if low <= value <= high]
        if len(inside) <= most:
            return inside
    return []


def time_ticks(start_ms: int, end_ms: int, most: int) -> list[tuple[int, str]]:
    """Return at most `most` round moments in UTC with their names: days, or times of day within two days.

    >>> time_ticks(0, 3 * 86_400_000, most=5)
    [(0, '1 Jan'), (86400000, '2 Jan'), (172800000, '3 Jan'), (259200000, '4 Jan')]
    """
    step = next(
        (step for step in _TIME_STEPS_MS if _count(start_ms, end_ms, step) <= most),
        _TIME_STEPS_MS[-1],
    )
    first = math.ceil((start_ms - _MONDAY_MS) / step)
    moments = [_MONDAY_MS + (first + number) * step for number in range(_count(start_ms, end_ms, step))]
    return [(moment, _name_moment(moment, step)) for moment in moments]


def _count(start_ms: int, end_ms: int, step: int) -> int:
    return math.floor((end_ms - _MONDAY_MS) / step) - math.ceil((start_ms - _MONDAY_MS) / step) + 1


def _name_moment(at_ms: int, step_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    if step_ms < _DAY_MS:
        return moment.strftime("%H:%M")
    return moment.strftime("%-d %b %Y" if step_ms > 91 * _DAY_MS else "%-d %b")


def drawing(width: float, height: float, parts: Iterable[str]) -> str:
    """Return parts as one drawing; the figure around it carries its description.

    >>> drawing(10, 5, [circle(1, 1, 1)]).endswith('<circle cx="1" cy="1" r="1"/></svg>')
    True
    """
    return (
        f'<svg aria-hidden="true" focusable="false" xmlns="http://www.w3.org/2000/svg" width="{_short(width)}" '
        f'height="{_short(height)}" viewBox="0 0 {_short(width)} {_short(height)}" font-family="{FONT}" '
        f'font-size="12" fill="{INK}">{"".join(parts)}</svg>'
    )


def interval_bars(intervals: Sequence[Interval | None]) -> list[str]:
    """Return a small drawing for each interval, all on one axis that holds 0; an infinite end goes to the edge.

    >>> from kaizen_analytics.stats import Interval
    >>> bars = interval_bars([Interval(estimate=-10.0, low=-20.0, high=5.0), None])
    >>> bars[0].startswith("<svg"), bars[1]
    (True, '')
    """
    values = [value for item in intervals if item is not None for value in (item.low, item.estimate, item.high)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = max(min([*finite, 0.0]), -100.0), min(max([*finite, 0.0]), 100.0)
    margin = 0.05 * (high - low) or 1.0
    scale = Scale(low=low - margin, high=high + margin, start=0, end=_BAR[0])
    return ["" if item is None else _interval_bar(item, scale) for item in intervals]


def _interval_bar(interval: Interval, scale: Scale) -> str:
    (width, height), middle = _BAR, _BAR[1] / 2
    low, estimate, high = (
        scale.place(min(max(value, scale.low), scale.high))
        for value in (interval.low, interval.estimate, interval.high)
    )
    zero = scale.place(0)
    return drawing(
        width,
        height,
        [
            line(zero, 0, zero, height, stroke_dasharray="2 2", opacity=0.6),
            line(low, middle, high, middle, stroke_width=2),
            circle(estimate, middle, 3.5),
        ],
    )


def group(parts: Iterable[str], **attributes: float | str) -> str:
    """Return parts that share attributes.

    >>> group([circle(1, 2, 3)], opacity=0.5)
    '<g opacity="0.5"><circle cx="1" cy="2" r="3"/></g>'
    """
    return f"<g{_attributes(attributes)}>{''.join(parts)}</g>"


def text(x: float, y: float, words: str, **attributes: float | str) -> str:
    """Return one line of text, its middle at the height `y`; `font_size` is 12 unless given.

    >>> text(0, 10, "a < b")
    '<text x="0" y="14.2">a &lt; b</text>'
    """
    size = float(attributes.get("font_size", 12))
    return f"<text{_attributes({'x': x, 'y': y + _RISE * size, **attributes})}>{escape_html(words)}</text>"


def line(x1: float, y1: float, x2: float, y2: float, **attributes: float | str) -> str:
    """Return a straight line.

    >>> line(0, 0, 1, 2, stroke="red")
    '<path d="M0,0 1,2" fill="none" stroke="red"/>'
    """
    return path([(x1, y1), (x2, y2)], **attributes)


def path(points: Sequence[tuple[float, float]], **attributes: float | str) -> str:
    """Return a line through `points`.

    >>> path([(0, 0), (1, 2), (3, 0)], stroke="red")
    '<path d="M0,0 1,2 3,0" fill="none" stroke="red"/>'
    """
    return f'<path d="M{_way(points)}"{_attributes({"fill": "none", "stroke": INK, **attributes})}/>'


def area(points: Sequence[tuple[float, float]], **attributes: float | str) -> str:
    """Return the area within `points`.

    >>> area([(0, 0), (1, 2), (3, 0)], fill="red")
    '<path d="M0,0 1,2 3,0Z" fill="red"/>'
    """
    return f'<path d="M{_way(points)}Z"{_attributes(attributes)}/>'


def circle(x: float, y: float, radius: float, **attributes: float | str) -> str:
    """Return a filled circle.

    >>> circle(1, 2, 3, fill="red")
    '<circle cx="1" cy="2" r="3" fill="red"/>'
    """
    return f"<circle{_attributes({'cx': x, 'cy': y, 'r': radius, **attributes})}/>"


def triangle(x: float, y: float, size: float, angle: float, **attributes: float | str) -> str:
    """Return a filled triangle around a point, its tip upward at an angle of 0, to the right at 90.

    >>> triangle(0, 0, 1, 0)
    '<path d="M0,-1 0.866,0.5 -0.866,0.5Z"/>'
    """
    turns = (math.radians(angle + 120 * corner) for corner in range(3))
    corners = [(x + size * math.sin(turn), y - size * math.cos(turn)) for turn in turns]
    return area(corners, **attributes)


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
