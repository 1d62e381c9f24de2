"""Charts of one's own, made with Altair: drawn as SVG in the look of this package, without a script.

The charts of our own reports do without (`charts`): to start Vega takes longer than all the rest of a report.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kaizen_analytics.reports import lean  # noqa: F401 - before altair
from kaizen_analytics.reports.svg import FONT, INK
from kaizen_analytics.text import clean

if TYPE_CHECKING:
    import altair as alt

_CATEGORIES = ["#2a85c0", "#d98c00", "#009e73", "#d55e00", "#b76b99", "#7f8790"]
"""For categories without an order, after Okabe and Ito."""


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
    legend = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 13,
        "labelLimit": 0,
        "symbolStrokeWidth": 3,
        "offset": 6,
        "orient": "top",
        "columns": 2,
    }
    return {
        "font": FONT,
        "background": "transparent",
        "padding": 2,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"domain": False, "ticks": False},
        "header": {"labelColor": INK, "titleColor": INK},
        "mark": {"color": _CATEGORIES[0]},
        "range": {"category": _CATEGORIES},
        "legend": legend,
    }


def draw_chart(chart: alt.TopLevelMixin, name: str) -> str:
    """Return a chart of Altair as SVG that can stand inside a page beside others, in the look of our own.

    Args:
        chart: Any chart; what it loads must be inside it.
        name: Unique on the page; makes the ids inside the drawing unique.
    """
    import vl_convert

    # altair has checked the parts as they were made; checking the whole again takes as long as drawing it
    spec = {**_cleaned(chart.to_dict(validate=False)), "config": _theme()}
    return _tidy(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]), name)


def _cleaned(part: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a specification whose texts are safe to draw; a NUL in one of them would end this process."""
    if isinstance(part, str):
        return clean(part)
    if isinstance(part, list):
        return [_cleaned(item) for item in part]
    if isinstance(part, dict):
        return {_cleaned(name): _cleaned(item) for name, item in part.items()}
    return part


_NOISE = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events|xmlns:xlink|version)="[^"]*"')
_HIDDEN_LABEL = re.compile(r'<text[^>]* opacity="0"[^>]*>[^<]*</text>')
_FRACTION = re.compile(r"(\d+\.\d{2})\d+")
_ID = re.compile(r'(\bid="|url\(#)')


def _tidy(svg: str, name: str) -> str:
    """Drop what a reader of the page cannot use (the figure has one description), and make ids unique and stable."""
    svg = _HIDDEN_LABEL.sub("", _NOISE.sub("", svg))
    svg = _FRACTION.sub(r"\1", svg)
    svg = _ID.sub(lambda found: f"{found.group(1)}{name}-", svg)
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
