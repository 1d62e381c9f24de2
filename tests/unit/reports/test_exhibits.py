"""Charts and frames of an analyst's own, ready to be seen without a script."""

from __future__ import annotations

import re
from datetime import date

import altair as alt
import polars as pl
import pytest

from kaizen_analytics import Effect, median_effect, show_answer, show_chart, show_table, show_text
from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.core.metrics import parse_metric

FRAME = pl.DataFrame({"day": [date(2026, 9, 7), date(2026, 9, 8)], "cost_usd": [1.5, 2.0], "model": ["a", "<b>"]})


def chart() -> alt.Chart:
    return alt.Chart(FRAME).mark_bar().encode(x="day:T", y="cost_usd:Q", color="model:N")


def test_a_chart_is_drawn_for_a_page_and_for_a_phone() -> None:
    block = show_chart(chart(), "Cost & time", "Cost rose from 1.5 to 2.")
    widths = [int(width) for width in re.findall(r'<svg [^>]*?width="(\d+)', block.html)]
    assert len(widths) == 2
    assert widths[0] > 600
    assert widths[1] < 360
    assert 'role="img" aria-label="Cost rose from 1.5 to 2."' in block.html
    assert "<figcaption>Cost &amp; time</figcaption>" in block.html
    assert block.markdown == "*Cost \\& time* Cost rose from 1.5 to 2."


def test_a_chart_loads_nothing_names_no_ink_and_is_the_same_each_time() -> None:
    page = show_chart(chart(), "c", "w").html
    assert not re.search(r"<script|href|url\(http|@import", page)
    assert "currentColor" in page
    assert "<b>" not in page
    assert page == show_chart(chart(), "c", "w").html
    assert page != show_chart(chart(), "d", "w").html
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_hostile_text_in_a_chart_stays_text() -> None:
    hostile = "<script>alert(1)</script> \x1b[31m\u202e\x01\x00"
    frame = pl.DataFrame({"name": [hostile], "size": [1]})
    page = show_chart(alt.Chart(frame).mark_bar().encode(x="name:N", y="size:Q"), hostile, hostile).html
    assert "<script" not in page
    assert not {"\x00", "\x01", "\x1b", "\u202e"} & set(page)
    assert "&lt;script&gt;alert(1)" in page


def test_a_frame_is_a_table_with_dashes_for_what_is_missing() -> None:
    frame = pl.DataFrame(
        {"name": ["a|b", None], "new_tokens": [1_234_567, None], "cost_usd": [0.123456, None], "known": [True, None]}
    )
    assert show_table(frame, "Two rows").markdown.split("\n") == [
        "**Two rows**",
        "",
        "| name | new tokens | cost USD | known |",
        "| --- | ---: | ---: | --- |",
        "| a\\|b | 1,234,567 | 0.1235 | yes |",
        "| – | – | – | – |",  # noqa: RUF001 - an en dash
    ]


def test_the_decimals_of_a_column_stand_below_each_other() -> None:
    frame = pl.DataFrame(
        {
            "usd": [54.6123, 0.0967, 0.0004, 0.0],
            "share": [93.1, 4.0, 0.0, None],
            "whole": [2.0, 3.0, 4.0, 5.0],
            "limit": [float("inf"), float("nan"), -0.25, 0.0],
        }
    )
    assert show_table(frame).plain.splitlines() == [
        "   USD  share  whole  limit",
        " 54.61   93.1      2    inf",
        "  0.10    4.0      3    nan",
        "0.0004    0.0      4  \N{MINUS SIGN}0.25",
        "  0.00      –      5   0.00",  # noqa: RUF001 - an en dash
    ]


def test_rows_that_are_not_shown_are_counted() -> None:
    frame = pl.DataFrame({"n": range(2_000)})
    block = show_table(frame, rows=3)
    assert block.html.count("<tr>") == 4
    assert block.plain.endswith("1,997 more rows are not shown.")
    assert "more rows" not in show_table(frame, rows=2_000).plain


def test_an_empty_frame_is_a_sentence() -> None:
    assert show_table(FRAME.clear()).plain == "There are no rows."
    assert show_table(FRAME.clear(), "Costs", empty="Nothing was *spent*.").markdown == "Nothing was \\*spent\\*."


def test_an_answer_is_shown_or_why_there_is_none() -> None:
    effect = show_answer(median_effect, [1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12], alpha=0.1)
    assert isinstance(effect, Effect)
    assert effect.alpha == 0.1
    refused = show_answer(plan_days, 0)
    assert refused == show_text("The history is 0 days long; expected 1 or more.")
    with pytest.raises(ConfigError):
        show_answer(parse_metric, "tokns")


def plan_days(days: int) -> int:
    if days < 1:
        raise ExperimentError(f"The history is {days} days long; expected 1 or more.")
    return days
