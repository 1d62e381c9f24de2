"""How an effect reads."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from kaizen_analytics.stats import (
    ArmSummary,
    Effect,
    EffectKind,
    Interval,
    mean_effect,
    median_effect,
    proportion_effect,
    quantile_effect,
)
from kaizen_analytics.stats.effect import format_number, format_percent


def effect_of(percent: Interval | None, **changes) -> Effect:
    arm = ArmSummary(n=50, n_effective=50.0, clusters=None, median=10.0, mean=0.5)
    fields = {
        "kind": EffectKind.MEDIAN,
        "control": arm,
        "treatment": arm,
        "difference": Interval(estimate=1.0, low=-1.0, high=3.0),
        "percent": percent,
        "p_value": 0.4,
        "alpha": 0.05,
    }
    return Effect(**(fields | changes))


@pytest.mark.parametrize(
    ("low", "high", "ending"),
    [
        (-20, -5, "lies between -20.0 % and -5.0 %, so chance alone is an unlikely explanation."),
        (-20, 5, "so both a rise and a fall are still possible: do not act on it yet."),
        (-math.inf, 5, "is at most 5.0 %, so collect more sessions before acting on it."),
        (-5, math.inf, "is at least -5.0 %, so collect more sessions before acting on it."),
        (-math.inf, math.inf, "set no limit to the true change yet, so collect more sessions before acting on it."),
    ],
)
def test_the_sentence_ends_with_what_to_do(low, high, ending):
    effect = effect_of(Interval(estimate=-1.0, low=low, high=high))

    assert effect.sentence.endswith(ending)


def test_no_change_at_all_is_said_plainly():
    assert effect_of(Interval(estimate=0.0, low=0.0, high=0.0)).sentence == (
        "The typical session (median) stayed at 10; with 95 % confidence the true change is 0.0 %, so nothing changed."
    )


@pytest.mark.parametrize(
    ("compare", "noun"),
    [
        (median_effect, "The typical session (median) went from"),
        (mean_effect, "The average session (mean) went from"),
        (lambda c, t: quantile_effect(c, t, quantile=0.9), "The 90 % quantile of the sessions went from"),
        (lambda c, t: proportion_effect(c > 12, t > 12), "The share went from"),
    ],
)
def test_every_kind_names_what_it_compares(compare, noun):
    sentence = compare(np.arange(5.0, 25), np.arange(8.0, 30)).sentence

    assert sentence.startswith(noun)
    assert sentence.count("\n") == 0


def test_the_table_has_both_arms_and_both_intervals():
    effect = median_effect(np.arange(5.0, 25), np.arange(8.0, 30))

    text = str(effect)

    for row in ("control (n = 20)", "treatment (n = 22)", "difference", "percent change", "p value"):
        assert row in text
    assert effect.sentence in text


def test_the_html_table_escapes_its_text():
    effect = effect_of(None, percent_undefined="a < b", notes=("x < y",))

    page = effect._repr_html_()

    assert "<table>" in page
    assert "x &lt; y" in page
    assert ">none</td>" in page


def test_an_insufficient_effect_prints_too():
    effect = median_effect([], [1.0, 2])

    assert "There is no control session" in str(effect)
    assert "There is no control session" in effect._repr_html_()


def test_an_effect_survives_pickling():
    effect = median_effect(np.arange(5.0, 25), np.arange(8.0, 30))

    copy = pickle.loads(pickle.dumps(effect))

    assert copy == effect
    assert copy.tails.at_most(10) == effect.tails.at_most(10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1234.5, "1,234"),
        (0.123456, "0.1235"),
        (1e-9, "1.000e-09"),
        (1e15, "1.000e+15"),
        (math.inf, "no limit"),
    ],
)
def test_numbers_are_short(value, text):
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(-12.34, "-12.3 %"), (-0.01, "0.0 %"), (12345.6, "12,345.6 %"), (math.inf, "no limit")]
)
def test_percents_have_one_decimal(value, text):
    assert format_percent(value) == text


def test_nothing_imports_scipy_stats():
    code = (
        "import sys, kaizen_analytics.stats, kaizen_analytics.experiments.verdict as v;"
        "assert not any(name == 'scipy.stats' or name.startswith('scipy.stats.') for name in sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
