"""What an analyst ends a cell with: a chart, a frame or a sentence of their own, in the look of the reports.

- `show_chart`: a chart of Altair
- `show_table`: a Polars frame, or a sentence where it is empty
- `show_text`: a sentence
- `show_answer`: what a question gives, or why the data do not suffice for it

`draw_result` draws the charts of a conclusion report for notebooks: the same numbers, with tooltips.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kaizen_analytics.core.errors import ConfigError, ExperimentError, StatisticsError, one_of
from kaizen_analytics.core.words import clean, format_interval, format_number
from kaizen_analytics.pages import blocks, charts, conclusion
from kaizen_analytics.pages.blocks import Block
from kaizen_analytics.pages.charts import FONT, INK

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt
    import polars as pl

    from kaizen_analytics.experiments.evaluation import Evaluation

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
        [" ".join("USD" if word == "usd" else word for word in name.split("_")) for name in frame.columns],
        list(zip(*(_cells(column) for column in frame.head(rows)), strict=True)),
        caption=caption,
        numeric=[place for place, dtype in enumerate(frame.dtypes) if dtype.is_numeric()],
    )
    left = frame.height - rows
    return blocks.stack(table, show_text(f"{left:,} more rows are not shown.")) if left > 0 else table


_CHARTS = ("effects", "shift", "over_time", "course")
_ENDS = {"low_end", "high_end"}
"""Columns that are drawn and not told: the ends of an interval, which may have no limit."""


def draw_result(evaluation: Evaluation, sample: pl.DataFrame, show: str) -> alt.LayerChart:
    """Return a chart that is as wide as its cell.

    Args:
        evaluation: What is concluded.
        sample: The sessions that were judged, as `read_judged_sample` returns them.
        show: `effects`, `shift`, `over_time` or `course`: the section of the report that has the chart.

    Raises:
        ConfigError: there is no such chart, or the extra `notebooks` is not installed.
        ExperimentError: the experiment has nothing to draw yet.

    >>> draw_result(evaluation, sample, "shift").data["arm"].unique().sort().to_list()
    ['control', 'treatment']
    """
    import polars as pl

    try:
        import altair as alt
    except ImportError as error:
        raise ConfigError("Charts need the extra 'notebooks': pip install 'kaizen_analytics[notebooks]'.") from error

    if alt.renderers.active == "default":  # which loads Vega from a server
        alt.renderers.register(_RENDERER, _carry_vega)
        alt.renderers.enable(_RENDERER)
    one_of("The chart", show, _CHARTS)
    frame = pl.DataFrame(_read_records(evaluation, sample, show))
    if frame.is_empty():
        raise ExperimentError(f"The experiment {evaluation.experiment.name!r} has nothing to draw as {show!r} yet.")
    if "start" in frame.columns:
        frame = frame.with_columns(pl.col("start").cast(pl.Datetime("ms")).dt.replace_time_zone("UTC"))
    name = "reading" if show == "effects" else "arm"
    colours = charts.COLOURS if show == "effects" else charts.ARM_COLOURS
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    base = alt.Chart(frame).encode(tooltip=[column for column in frame.columns if column not in _ENDS])
    top = alt.Legend(orient="top")
    coloured = base.encode(color=alt.Color(f"{name}:N", title=None, scale=scale, legend=top))
    unit = f"{evaluation.primary.label}, {evaluation.primary.unit}"
    if "estimate" in frame.columns:  # beyond 100 % the axis ends, as in the report; the tooltip has the number
        ends = [value for name in ("low_end", "estimate", "high_end") for value in frame[name].to_list()]
        axis = alt.Scale(domain=charts.padded([0.0, *ends]), clamp=True)
    if show == "effects":
        shapes = alt.Scale(domain=list(colours), range=["triangle-up", "triangle-down", "circle"])
        shape = alt.Shape("reading:N", title=None, scale=shapes, legend=top)
        rows = coloured.encode(y=alt.Y("metric:N", title=None, sort=None))
        layers = [
            rows.mark_rule(strokeWidth=4).encode(
                x=alt.X("low_end:Q", title="percent change", scale=axis), x2="high_end:Q"
            ),
            rows.mark_point(filled=True, size=120, opacity=1).encode(x="estimate:Q", shape=shape),
            rows.mark_tick(thickness=2).encode(x="limit:Q"),
            base.mark_rule(strokeDash=[4, 3]).encode(x=alt.datum(0)),
        ]
    elif show == "course":
        dated = base.encode(x=alt.X("start:T", title="sessions started by"))
        layers = [
            dated.mark_area(opacity=0.25).encode(
                y=alt.Y("low_end:Q", title="percent change", scale=axis), y2="high_end:Q"
            ),
            dated.mark_line(point=True).encode(y="estimate:Q"),
            base.mark_rule(strokeDash=[4, 3]).encode(y=alt.datum(0)),
        ]
    elif show == "shift":
        share = alt.Y("share:Q", title="share of sessions at or below", axis=alt.Axis(format=".0%"))
        layers = [coloured.mark_line(point=True).encode(x=alt.X("value:Q", title=unit), y=share)]
    else:
        dated = coloured.encode(x=alt.X("start:T", title=None), y=alt.Y("median:Q", title=unit))
        size = alt.Size("sessions:Q", legend=None, scale=alt.Scale(range=[20, 120]))
        layers = [dated.mark_line(), dated.mark_point(filled=True, opacity=1).encode(size=size)]
    return alt.LayerChart(layer=layers, width="container", title=evaluation.experiment.name)


def _read_records(evaluation: Evaluation, sample: pl.DataFrame, show: str) -> list[dict[str, Any]]:
    if show == "effects":
        return [
            {"metric": row.label, "reading": row.change.value, "limit": row.limit}
            | _interval(row.estimate, row.low, row.high)
            for row in conclusion.forest_rows(evaluation)
        ]
    if show == "course":
        return [
            {"start": point.at_ms, "control": point.n_control, "treatment": point.n_treatment}
            | _interval(point.estimate, point.low or 0.0, point.high or 0.0)
            for point in evaluation.series
            if point.estimate is not None
        ]
    if show == "shift":
        return [
            {"arm": curve.arm, "share": share, "value": value}
            for curve in evaluation.curves
            for share, value in zip(curve.quantiles, curve.values, strict=True)
        ]
    return [
        {"arm": span.arm, "start": span.start_ms, "median": span.median, "sessions": span.sessions}
        for span in conclusion.spans_of(evaluation, sample)[1]
    ]


def _interval(estimate: float, low: float, high: float) -> dict[str, Any]:
    ends = {"low_end": max(low, -1e6), "high_end": min(high, 1e6)}  # JSON has no infinity
    return {"estimate": estimate, "interval": format_interval(low, high), **ends}


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
        if math.isfinite(value) and abs(round(value, decimals) - value) > 0.05 * abs(value):
            return format_number(value)  # beside much larger numbers
        return f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    return str(value)


def _theme() -> dict[str, Any]:
    """Return the Vega-Lite configuration of every chart."""
    inked = dict.fromkeys(("labelColor", "titleColor"), INK)
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10}
    faint = {"gridOpacity": 0.13, "domainOpacity": 0.45, "tickOpacity": 0.45}
    boxes = {"labelFontSize": 13, "labelLimit": 0, "symbolStrokeWidth": 3, "offset": 6, "orient": "top", "columns": 2}
    return {
        "font": FONT,
        "background": "transparent",
        "padding": 2,
        "view": {"stroke": None},
        "axis": {**inked, **dict.fromkeys(("domainColor", "tickColor", "gridColor"), INK), **faint, **sizes},
        "axisY": {"domain": False, "ticks": False},
        "header": inked,
        "mark": {"color": _CATEGORIES[0]},
        "range": {"category": _CATEGORIES},
        "legend": {**inked, **boxes},
    }


_RENDERER = "kaizen_analytics"


def _carry_vega(spec: dict[str, Any], **_: object) -> dict[str, str]:
    """Return a chart as HTML that draws itself without a request, several times on one page.

    Altair's own inline template declares the names of its scripts for the whole page, so that a second chart fails.
    """
    import vl_convert

    name = f"chart-{uuid.uuid4().hex}"
    given = json.dumps(_cleaned(spec)).replace("<", r"\u003c")
    drawn = f"window.vegaEmbed(document.getElementById('{name}'), {given}, {{actions: false}})"
    # its stub asks for the snippet that the function has a default for
    vega = f"if (!window.vegaEmbed) {{ {vl_convert.javascript_bundle()} }}"  # type: ignore[call-arg]
    script = f"<script>(() => {{ {vega}; {drawn}; }})()</script>"
    return {"text/html": f"<div id='{name}' style='width: 100%'></div>{script}"}


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
