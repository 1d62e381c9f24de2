"""What an analyst ends a cell with: a chart, a frame or a sentence of their own, in the look of the reports.

- `show_chart`: a chart of Altair
- `show_table`: a Polars frame, or a sentence where it is empty
- `show_text`: a sentence
- `show_answer`: what a question gives, or why the data do not suffice for it
"""

from __future__ import annotations

import hashlib
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
        columns=tuple(name.replace("_", " ") for name in frame.columns),
        rows=tuple(tuple(_cell(value) for value in row) for row in frame.head(rows).iter_rows()),
        numeric=frozenset(place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric()),
        sentences=(f"{left:,} more rows are not shown.",) if left > 0 else (),
    )
    return Block(html=table.html(), markdown=table.markdown(), plain=table.plain())


def _cell(value: object) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return format_number(value) if isinstance(value, float) else str(value)
