"""Charts: the same drawing for the same numbers, fit for any page, and said in words."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.experiments.evaluation import Curve, SeriesPoint
from kaizen_analytics.pages.charts import (
    ForestRow,
    Movement,
    Span,
    _circle,
    _drawing,
    _linear_ticks,
    _log_ticks,
    _Scale,
    _text,
    _time_ticks,
    _triangle,
    course,
    distribution,
    forest,
    over_time,
)

MINUS = "\N{MINUS SIGN}"
NBSP = "\N{NO-BREAK SPACE}"
DAY_MS = 86_400_000
SIZES = st.floats(min_value=1e-6, max_value=1e12)
MOST = st.integers(min_value=2, max_value=12)
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


# Drawing by hand.


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    even = _Scale(low=10, high=30, start=100, end=200)
    assert [even.place(value) for value in (10, 20, 30)] == [100, 150, 200]
    log = _Scale(low=1, high=100, start=0, end=10, logarithmic=True)
    assert [round(log.place(value), 9) for value in (1, 10, 100)] == [0, 5, 10]


def test_a_scale_of_one_value_places_it_in_the_middle() -> None:
    assert _Scale(low=5, high=5, start=0, end=10).place(5) == 5


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (-73, 107, 6, [-50, 0, 50, 100]),
        (0.1, 0.35, 3, [0.1, 0.2, 0.3]),
        (3, 3, 5, [3]),
    ],
)
def test_linear_ticks_are_round(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert _linear_ticks(low, high, most) == ticks


@given(low=st.floats(-1e9, 1e9), size=SIZES, most=MOST)
def test_linear_ticks_lie_inside_evenly_and_are_few(low: float, size: float, most: int) -> None:
    high = low + size
    if not high - low > 1e-9 * abs(low):
        return
    ticks = _linear_ticks(low, high, most)
    assert 1 <= len(ticks) <= most
    slack = 1e-6 * (high - low)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-3) for step in steps)


@pytest.mark.parametrize(
    ("low", "high", "most", "ticks"),
    [
        (0.015, 0.6, 10, [0.02, 0.05, 0.1, 0.2, 0.5]),
        (80, 2e6, 10, [100, 300, 1000, 3000, 10_000, 30_000, 100_000, 300_000, 1_000_000]),
        (1, 1e9, 4, [1, 1e3, 1e6, 1e9]),
    ],
)
def test_log_ticks_are_round(low: float, high: float, most: int, ticks: list[float]) -> None:
    assert _log_ticks(low, high, most) == ticks


@given(low=SIZES, factor=st.floats(30, 1e9), most=MOST)
def test_log_ticks_lie_inside_and_are_few(low: float, factor: float, most: int) -> None:
    ticks = _log_ticks(low, low * factor, most)
    assert 1 <= len(ticks) <= most
    assert all(low <= tick <= low * factor for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(start=st.integers(0, 4_000_000_000_000), length=st.integers(1, 4_000 * DAY_MS), most=st.integers(3, 10))
def test_time_ticks_lie_inside_and_are_few(start: int, length: int, most: int) -> None:
    ticks = _time_ticks(start, start + length, most)
    assert len(ticks) <= most
    assert all(start <= at_ms <= start + length for at_ms, _ in ticks)
    assert length < 2 * 3_600_000 or ticks


def test_time_ticks_of_some_weeks_are_mondays() -> None:
    start = round(datetime(2026, 9, 2, 15, tzinfo=UTC).timestamp() * 1000)
    assert [name for _, name in _time_ticks(start, start + 40 * DAY_MS, 7)] == [
        "7 Sep",
        "14 Sep",
        "21 Sep",
        "28 Sep",
        "5 Oct",
        "12 Oct",
    ]
    assert [name for _, name in _time_ticks(start, start + DAY_MS, 4)] == ["18:00", "00:00", "06:00", "12:00"]


def test_a_drawing_is_well_formed_whatever_the_text_holds() -> None:
    drawn = _drawing(10, 20, [_text(0, 0, "</text><script>&\x00\u202e"), _circle(1, 2, 3)])
    root = ET.fromstring(drawn)
    assert [element.tag.rpartition("}")[2] for element in root] == ["text", "circle"]
    assert "".join(root[0].itertext()) == "</text><script>&\ufffd\ufffd"


def test_a_triangle_points_where_it_should() -> None:
    tops = {}
    for angle in (0, 90, 180):
        way = ET.fromstring(_triangle(0, 0, 10, angle)).attrib["d"].strip("MZ").split()
        tops[angle] = tuple(float(number) for number in way[0].split(","))
    assert tops == {0: (0, -10), 90: (10, 0), 180: (0, 10)}
