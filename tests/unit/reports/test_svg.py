"""Scales, round ticks and elements of drawings."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.pages import svg
from kaizen_analytics.pages.svg import Scale, _linear_ticks, _log_ticks, time_ticks

DAY_MS = 86_400_000
SIZES = st.floats(min_value=1e-6, max_value=1e12)
MOST = st.integers(min_value=2, max_value=12)


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    even = Scale(low=10, high=30, start=100, end=200)
    assert [even.place(value) for value in (10, 20, 30)] == [100, 150, 200]
    log = Scale(low=1, high=100, start=0, end=10, logarithmic=True)
    assert [round(log.place(value), 9) for value in (1, 10, 100)] == [0, 5, 10]


def test_a_scale_of_one_value_places_it_in_the_middle() -> None:
    assert Scale(low=5, high=5, start=0, end=10).place(5) == 5


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
    ticks = time_ticks(start, start + length, most)
    assert len(ticks) <= most
    assert all(start <= at_ms <= start + length for at_ms, _ in ticks)
    assert length < 2 * 3_600_000 or ticks


def test_time_ticks_of_some_weeks_are_mondays() -> None:
    start = round(datetime(2026, 9, 2, 15, tzinfo=UTC).timestamp() * 1000)
    assert [name for _, name in time_ticks(start, start + 40 * DAY_MS, 7)] == [
        "7 Sep",
        "14 Sep",
        "21 Sep",
        "28 Sep",
        "5 Oct",
        "12 Oct",
    ]
    assert [name for _, name in time_ticks(start, start + DAY_MS, 4)] == ["18:00", "00:00", "06:00", "12:00"]


def test_a_drawing_is_well_formed_whatever_the_text_holds() -> None:
    drawn = svg.drawing(10, 20, [svg.text(0, 0, "</text><script>&\x00\u202e"), svg.circle(1, 2, 3)])
    root = ET.fromstring(drawn)
    assert [element.tag.rpartition("}")[2] for element in root] == ["text", "circle"]
    assert "".join(root[0].itertext()) == "</text><script>&\ufffd\ufffd"


def test_a_triangle_points_where_it_should() -> None:
    tops = {}
    for angle in (0, 90, 180):
        way = ET.fromstring(svg.triangle(0, 0, 10, angle)).attrib["d"].strip("MZ").split()
        tops[angle] = tuple(float(number) for number in way[0].split(","))
    assert tops == {0: (0, -10), 90: (10, 0), 180: (0, 10)}
