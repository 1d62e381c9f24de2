"""What an analyst ends a cell with: a chart, a frame or a sentence of their own, in the look of the reports.

- `show_chart`: a chart of Altair
- `show_table`: a Polars frame, or a sentence where it is empty
- `show_text`: a sentence
- `show_answer`: what a question gives, or why the data do not suffice for it
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kaizen_analytics.core.errors import ExperimentError, StatisticsError
from kaizen_analytics.core.words import clean, format_number
from kaizen_analytics.pages import blocks
from kaizen_analytics.pages.blocks import Block
from kaizen_analytics.pages.svg import FONT, INK

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt
    import polars as pl

_P = ParamSpec("_P")
_T = TypeVar("_T")

_WIDE, _NARROW = 610, 260
"""Width of the plot without its axis, on a page and on a phone."""
_CATEGORIES = ["#2a85c0", "#d98c00", "#009e73", "#d55e00", "#b76b99", "#7f8790"]
"""For categories without an order, after Okabe and Ito."""
_NOTHING = "\u2013"
_DIGITS, _MOST_DECIMALS = 4, 6
"""The largest number of a column shows so many digits, and none more decimals than that."""


def show_chart(chart: alt.TopLevelMixin, caption: str, words: str, *, height: int = 240) -> Block:
    """Return a chart of your own to end a cell with; it needs no script and no network to be seen.

    Args:
        chart: A chart of Altair, or layers of charts; its width is set here, once for a page and once for a phone.
        caption: One line below the chart.
        words: What the chart shows, for those who do not see it; compute it from the data.
        height: Height of the plot in pixels.

    >>> import altair as alt
    >>> import polars as pl
    >>> chart = alt.Chart(pl.DataFrame({"day": [1, 2], "tokens": [3, 4]})).mark_line().encode(x="day", y="tokens")
    >>> show_chart(chart, "Tokens per day.", "Tokens rose from 3 to 4.").plain
    'Tokens per day. Tokens rose from 3 to 4.'
    """
    name = f"chart-{hashlib.sha256(caption.encode('utf-8', 'replace')).hexdigest()[:8]}"
    wide, narrow = (
        _draw_chart(chart.properties(width=width, height=height), f"{name}-{width}") for width in (_WIDE, _NARROW)
    )
    return blocks.figure(blocks.Figure(wide=wide, narrow=narrow, alt=words), caption)


def show_text(text: str) -> Block:
    """Return one paragraph of your own to end a cell with, such as what is missing and what to do.

    >>> show_text("Nothing to compare.").plain
    'Nothing to compare.'
    """
    return blocks.paragraph(text)


def show_answer(question: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | Block:
    """Return what a question gives, or a paragraph that says why the data do not suffice for it.

    A wrong name or argument stays an error.

    Args:
        question: What to call, such as `analysis.power`.
        *args: What to call it with.
        **kwargs: What to call it with.

    >>> show_answer(analysis.power, "tokens_per_session", days=1).plain.partition(",")[0]
    'Planning needs at least 20 past sessions with a value'
    """
    try:
        return question(*args, **kwargs)
    except (ExperimentError, StatisticsError) as error:
        return show_text(str(error))


def show_table(frame: pl.DataFrame, caption: str = "", *, rows: int = 50, empty: str = "There are no rows.") -> Block:
    """Return a frame of your own as a table: numbers to the right, a dash where there is no value.

    Args:
        frame: Any frame; its columns are named as they are, with spaces for underscores.
        caption: One line above the table.
        rows: How many rows to show at most; a line below counts the rest.
        empty: What to say of a frame without rows.

    >>> import polars as pl
    >>> print(show_table(pl.DataFrame({"model": ["a"], "cost_usd": [0.5]})).plain)
    model  cost USD
    a           0.5
    """
    if frame.is_empty():
        return show_text(empty)
    table = blocks.table(
        [_heading(name) for name in frame.columns],
        list(zip(*(_cells(column) for column in frame.head(rows)), strict=True)),
        caption=caption,
        numeric=[place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric()],
    )
    left = frame.height - rows
    return blocks.stack(table, show_text(f"{left:,} more rows are not shown.")) if left > 0 else table


def _heading(column: str) -> str:
    return " ".join("USD" if word == "usd" else word for word in column.split("_"))


def _cells(column: pl.Series) -> list[str]:
    decimals = _decimals(column) if column.dtype.is_float() else 0
    return [_cell(value, decimals) for value in column]


def _decimals(column: pl.Series) -> int:
    """Return how many decimals the numbers of a column get, so that they stand below each other."""
    sizes = [abs(value) for value in column.drop_nulls() if math.isfinite(value)]
    largest = max(sizes, default=0.0)
    most = min(max(_DIGITS - 1 - math.floor(math.log10(largest)), 0), _MOST_DECIMALS) if largest else 0
    return next((decimals for decimals in range(most) if all(round(size, decimals) == size for size in sizes)), most)


def _cell(value: object, decimals: int) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        text = f"{value:,.{decimals}f}"
        return format_number(value) if value and not text.strip("-0.,") else text
    return str(value)


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


def _draw_chart(chart: alt.TopLevelMixin, name: str) -> str:
    """Return a chart as SVG; `name` makes the ids inside the drawing unique on the page."""
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
