"""Charts: the same drawing for the same numbers, fit for any page, and said in words."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest

from kaizen_analytics.experiments.evaluation import Curve, SeriesPoint
from kaizen_analytics.pages.charts import ForestRow, Movement, Span, course, distribution, forest, over_time

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
GREY, BLUE = "#7f8790", "#2a85c0"
BETTER = ForestRow(label="Tokens", change=Movement.BETTER, estimate=-13.1, low=-18.2, high=-7.5, limit=-10)
WORSE = ForestRow(label="Cost <b>&", change=Movement.WORSE, estimate=30.0, low=8.2, high=math.inf)


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter() if element.tag.endswith("text")]


def test_a_forest_names_every_row_with_its_numbers() -> None:
    drawn = texts(forest([BETTER, WORSE]).wide)
    assert "Tokens" in drawn
    assert "Cost <b>&" in drawn
    assert f"{MINUS}13.1{NBSP}% ({MINUS}18.2 to {MINUS}7.5{NBSP}%)" in drawn
    assert f"+30.0{NBSP}% (at least +8.2{NBSP}%)" in drawn


def test_an_estimate_beyond_the_axis_has_an_arrow_and_no_mark() -> None:
    far = ForestRow(label="Far", change=Movement.UNCLEAR, estimate=193.4, low=-73.5, high=193.4)
    near = ForestRow(label="Near", change=Movement.UNCLEAR, estimate=-10.0, low=-73.5, high=193.4)
    assert [forest([row]).wide.count("<circle") for row in (far, near)] == [0, 1]
    assert len({forest([row]).wide.count("<path") for row in (far, near)}) == 1, "both have the arrow"


def test_the_words_of_a_forest_say_what_it_shows() -> None:
    alt = forest([BETTER, WORSE]).alt
    assert f"Tokens: {MINUS}13.1{NBSP}%, interval {MINUS}18.2 to {MINUS}7.5{NBSP}%, better, limit {MINUS}10.0" in alt
    assert f"Cost <b>&: +30.0{NBSP}%, interval at least +8.2{NBSP}%, worse." in alt


def test_a_drawing_is_the_same_each_time_and_takes_the_colour_of_the_page() -> None:
    first, second = forest([BETTER, WORSE]), forest([BETTER, WORSE])
    assert first == second
    for svg in (first.wide, first.narrow):
        assert "currentColor" in svg
        assert not re.search(r'fill="(white|#fff|black|#000)', svg)
        assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_a_phone_gets_a_narrower_drawing() -> None:
    figure = forest([BETTER])
    widths = [float(ET.fromstring(svg).attrib["width"]) for svg in (figure.wide, figure.narrow)]
    assert widths[0] > 690
    assert widths[1] < 350


def test_a_long_label_is_broken_into_lines_not_cut_off() -> None:
    long = ForestRow(
        label="Bearbeitungsdauer je Sitzung einschließlich Wartezeit",
        change=Movement.UNCLEAR,
        estimate=0,
        low=-1,
        high=1,
    )
    drawn = " ".join(texts(forest([long]).wide))
    for word in long.label.split():
        assert word in drawn.replace("\n", " ")


def test_ids_carry_the_name_of_the_chart() -> None:
    svg = forest([BETTER]).wide
    ids = re.findall(r'\bid="([^"]+)"', svg) + re.findall(r"url\(#([^)]+)\)", svg)
    assert all(name.startswith("unique-wide-") for name in ids)


def test_a_distribution_is_said_by_its_quartiles() -> None:
    shares = tuple(step / 120 for step in range(121))
    curves = [
        Curve(arm="control", quantiles=shares, values=tuple(100 + 100 * share for share in shares)),
        Curve(arm="treatment", quantiles=shares, values=tuple(50 + 100 * share for share in shares)),
    ]
    figure = distribution(curves, "tokens")
    assert (
        "control: half of the sessions are at or below 150 tokens, the middle half lies from 125 to 175" in figure.alt
    )
    assert "treatment: half of the sessions are at or below 100 tokens" in figure.alt
    assert "tokens" in texts(figure.wide)
    assert len(figure.wide) < 20_000


@pytest.mark.parametrize(("largest", "title"), [(200.0, "tokens"), (20_000.0, "tokens, logarithmic")])
def test_a_wide_spread_makes_the_axis_logarithmic(largest: float, title: str) -> None:
    shares = tuple(step / 120 for step in range(121))
    values = tuple(10 ** (2 + share * math.log10(largest / 100)) for share in shares)
    curves = [Curve(arm=arm, quantiles=shares, values=values) for arm in ("control", "treatment")]
    assert title in texts(distribution(curves, "tokens").wide)


@pytest.mark.parametrize(("arm", "colour", "other"), [("control", GREY, BLUE), ("treatment", BLUE, GREY)])
def test_an_arm_alone_has_its_own_colour(arm: str, colour: str, other: str) -> None:
    spans = [Span(arm=arm, start_ms=86_400_000 * day, median=5.0 + day, sessions=2) for day in range(3)]
    drawn = over_time(spans, step_ms=86_400_000, change_ms=0, unit="tokens").wide
    assert (colour in drawn, other in drawn) == (True, False)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    drawn = distribution([Curve(arm=arm, quantiles=shares, values=(1.0, 2.0, 3.0, 4.0, 5.0))], "tokens").wide
    assert (colour in drawn, other in drawn) == (True, False)


def test_a_course_holds_its_last_estimate_however_large() -> None:
    figure = course([point(day, 250.0, -50.0, 900.0) for day in range(9)], None)
    heights = {float(y) for y in re.findall(r"[ML ]?[\d.]+[ ,]([\d.]+)", re.findall(r'd="(M[^"]*)"', figure.wide)[-1])}
    assert min(heights) > 10, "the top of the drawing is further up"
    assert f"+200{NBSP}%" in texts(figure.wide) or "+200 %" in texts(figure.wide)


def point(day: int, estimate: float | None, low: float | None, high: float | None) -> SeriesPoint:
    at_ms = 1_767_571_200_000 + day * 86_400_000
    return SeriesPoint(at_ms=at_ms, n_control=day, n_treatment=day + 1, estimate=estimate, low=low, high=high)


def test_a_course_skips_what_has_no_value_and_survives_unlimited_intervals() -> None:
    points = [
        point(1, None, None, None),
        point(2, -50.0, -math.inf, math.inf),
        *(point(d, -9, -20, 4) for d in (3, 4, 5)),
    ]
    figure = course(points, -10.0)
    assert "4 looks. The first, after 2 and 3 sessions" in figure.alt
    assert f"The last, after 5 and 6 sessions: {MINUS}9.0{NBSP}%, interval {MINUS}20.0 to +4.0{NBSP}%." in figure.alt
    assert "NaN" not in figure.wide
    assert "Infinity" not in figure.wide
