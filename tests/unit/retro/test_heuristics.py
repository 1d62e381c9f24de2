"""Headers of heuristics and their thresholds."""

from pathlib import Path

import pytest

from kaizen_analytics.errors import ConfigError, QueryError
from kaizen_analytics.model import Metric
from kaizen_analytics.retro.heuristics import (
    Basis,
    Category,
    Confidence,
    load_heuristics,
    parse_heuristic,
    read_thresholds,
)
from kaizen_analytics.retro.relations import complete_relations, describe_input, missing_inputs

HEADER = """-- id: H99
-- name: an example
-- purpose: something that
--   happens often.
-- grain: one row.
-- null: never.
-- confidence: high
-- category: quick win
-- effort_minutes: 5
-- basis: measured
-- metric: tokens_per_session
-- needs: calls, calls.is_error
-- threshold: min_calls = 3 (calls (all of them) in the window)
-- threshold: pattern = 'a|b' (what counts)
-- saving: nothing.
"""
QUERY = "select 1 where $min_calls > 2 and $pattern = '' and $per_week > 0"


def test_a_header_says_everything_about_a_heuristic() -> None:
    heuristic = parse_heuristic("retro/h99.sql", HEADER + QUERY)

    assert (heuristic.id, heuristic.number, heuristic.fires) == ("H99", 99, "something that happens often.")
    assert (heuristic.confidence, heuristic.category) == (Confidence.HIGH, Category.QUICK_WIN)
    assert (heuristic.basis, heuristic.metric) == (Basis.MEASURED, Metric.TOKENS_PER_SESSION)
    assert heuristic.needs == ("calls", "calls.is_error")
    assert {name: spec.default for name, spec in heuristic.thresholds.items()} == {"min_calls": 3, "pattern": "a|b"}
    assert heuristic.thresholds["min_calls"].meaning == "calls (all of them) in the window"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- saving: nothing.\n", "", "lacks saving"),
        ("confidence: high", "confidence: certain", "'certain' is not a valid Confidence"),
        ("effort_minutes: 5", "effort_minutes: five", "invalid literal"),
        ("min_calls = 3", "min_call = 3", "differ in min_call, min_calls"),
        ("min_calls = 3", "min_calls = three", "not a TOML value"),
        (" = 3 (calls", " 3 (calls", "is not of the form"),
    ],
)
def test_a_wrong_header_is_an_error_that_names_the_file(old: str, new: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        parse_heuristic("retro/h99.sql", HEADER.replace(old, new) + QUERY)
    assert "retro/h99.sql" in str(caught.value)


def test_the_files_hold_the_known_heuristics_with_inputs_that_exist() -> None:
    heuristics = load_heuristics()
    relations = complete_relations({})

    assert [heuristic.number for heuristic in heuristics] == [*range(1, 26), *range(27, 39)]
    for heuristic in heuristics:
        assert heuristic.path.startswith(f"retro/h{heuristic.number:02}_")
        assert missing_inputs(heuristic.needs, relations) == list(heuristic.needs)
        assert missing_inputs(heuristic.uses, relations) == list(heuristic.uses)
        assert all(describe_input(need) for need in heuristic.needs)


def test_thresholds_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "retro.toml"
    file.write_text("[H3]\nmin_edits = 12\n[H11]\nmin_factor = 3\n")

    assert read_thresholds(file) == {"H3": {"min_edits": 12}, "H11": {"min_factor": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[H99]\n", "no heuristic 'H99'"),
        ("H3 = 4\n", r"expected a table \[H3\]"),
        ("[H3]\nmin_edit = 4\n", "no threshold 'min_edit'.*Did you mean 'min_edits'"),
        ("[H3]\nmin_edits = 4.5\n", "expected a whole number"),
        ("[H3]\nmin_edits = true\n", "expected a whole number"),
        ("[H11]\nmin_factor = 'big'\n", "expected a number"),
        ("[H7]\npremium_models = 3\n", "expected a text"),
        ("[H3\n", "Cannot read thresholds"),
    ],
)
def test_a_wrong_threshold_is_an_error_that_says_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "retro.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_thresholds(file)


def test_a_missing_file_of_thresholds_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read thresholds"):
        read_thresholds(tmp_path / "none.toml")
