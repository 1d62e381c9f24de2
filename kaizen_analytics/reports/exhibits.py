"""What an analyst ends a cell with: a chart or a frame of their own, in the look of the reports and safe to share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from kaizen_analytics.display import Table
from kaizen_analytics.reports import components
from kaizen_analytics.reports.components import Block
from kaizen_analytics.reports.vega import draw_chart
from kaizen_analytics.stats.effect import format_number

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

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


def show_table(frame: pl.DataFrame, caption: str = "", *, rows: int = 50) -> Block:
    """Return a frame of your own as a table: numbers to the right, a dash where there is no value.

    Args:
        frame: Any frame; its columns are named as they are, with spaces for underscores.
        caption: One line above the table.
        rows: How many rows to show at most; a line below counts the rest.
    """
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
