"""Whether a plan will be reached."""

import pytest

from kaizen_analytics.experiments.lifecycle import Reach
from kaizen_analytics.pages import sentences


def reach(expected: tuple[int, int], planned: tuple[int, int] = (60, 60), minimum: int = 10) -> Reach:
    return Reach(planned=planned, expected=expected, minimum=minimum, days=14)


@pytest.mark.parametrize(
    ("expected", "is_judged", "is_reached"),
    [
        ((60, 60), True, True),
        ((55, 54), True, True),
        ((40, 40), True, False),
        ((9, 400), False, False),
        ((0, 80), False, False),
    ],
)
def test_a_plan_is_reached_by_information_and_judged_from_a_minimum(expected, is_judged, is_reached):
    found = reach(expected)
    assert (found.is_judged, found.is_reached) == (is_judged, is_reached)
    assert (sentences.reach(found) is None) is is_reached


def test_more_sessions_of_one_arm_make_up_for_the_other():
    assert reach((40, 120)).information == pytest.approx(1.0)


def test_the_warning_names_what_comes_and_what_was_planned():
    said = sentences.reach(reach((20, 20)))
    assert said.startswith("The plan will not be reached: at the rate of the last 14 days, 20 control and 20 treatment")
    assert "with 33\N{NO-BREAK SPACE}% of the planned information" in said
    assert sentences.reach(reach((3, 90))).startswith("Too few sessions for any judgement:")
