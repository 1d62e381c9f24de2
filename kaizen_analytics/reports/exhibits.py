"""What an analyst ends a cell with: a chart, a frame or a sentence of their own, in the look of the reports.

- `show_chart`: a chart of Altair
- `show_table`: a Polars frame, or a sentence where it is empty
- `show_text`: a sentence
- `show_answer`: what a question gives, or why the data do not suffice for it
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from kaizen_analytics.display import Table
from kaizen_analytics.errors import ExperimentError, StatisticsError
from kaizen_analytics.reports import components
from kaizen_analytics.reports.components import Block
from kaizen_analytics.reports.vega import draw_chart
from kaizen_analytics.stats.effect import format_number

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt
    import polars as pl

P = ParamSpec("P")
T = TypeVar("T")

_WIDE, _NARROW = 610, 260
"""Width of the plot without its axis, on a page and on a phone."""
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
    """
    name = f"chart-{hashlib.sha256(caption.encode('utf-8', 'replace')).hexdigest()[:8]}"
    wide, narrow = (
        draw_chart(chart.properties(width=width, height=height), f"{name}-{width}") for width in (_WIDE, _NARROW)
    )
    return components.figure(components.Figure(wide=wide, narrow=narrow, alt=words), caption)


def show_text(text: str) -> Block:
    """Return one paragraph of your own to end a cell with, such as what is missing and what to do."""
    return components.paragraph(text)


def show_answer(question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Block:
    """Return what a question gives, or a paragraph that says why the data do not suffice for it.

    A wrong name or argument stays an error.

    Args:
        question: What to call, such as `analysis.power`.
        *args: What to call it with.
        **kwargs: What to call it with.
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
    """
    if frame.is_empty():
        return show_text(empty)
    left = frame.height - rows
    table = Table(
        caption=caption,
        columns=tuple(_heading(name) for name in frame.columns),
        rows=tuple(zip(*(_cells(column) for column in frame.head(rows)), strict=True)),
        numeric=frozenset(place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric()),
        sentences=(f"{left:,} more rows are not shown.",) if left > 0 else (),
    )
    return Block(html=table.html(), markdown=table.markdown(), plain=table.plain())


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
