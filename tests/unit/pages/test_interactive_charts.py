"""Charts for notebooks: the numbers of the report, with tooltips."""

import re

import polars as pl
import pytest

from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.pages import conclusion, exhibits

VALUES = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
HALVED = [value / 2 for value in VALUES]
COLUMN = "tokens_per_session"


def sample_of(control, treatment) -> pl.DataFrame:
    arms = [("Control", value) for value in control] + [("Treatment", value) for value in treatment]
    rows = [
        {"session_id": f"s{i}", "variant": arm, COLUMN: value, "started_at_ms": i * 43_200_000}
        for i, (arm, value) in enumerate(arms)
    ]
    return pl.DataFrame(rows, schema={"session_id": str, "variant": str, COLUMN: float, "started_at_ms": int})


@pytest.mark.parametrize("show", ["effects", "shift", "over_time", "course"])
def test_every_chart_has_tooltips_and_the_numbers_of_the_report(evaluate, show):
    found, sample = evaluate(VALUES, HALVED), sample_of(VALUES, HALVED)
    chart = exhibits.draw_result(found, sample, show)
    told = {
        "effects": [row.estimate for row in conclusion.forest_rows(found)],
        "shift": [value for curve in found.curves for value in curve.values],
        "over_time": [span.median for span in conclusion.spans_of(found, sample)[1]],
        "course": [point.estimate for point in found.series if point.estimate is not None],
    }[show]
    column = {"shift": "value", "over_time": "median"}.get(show, "estimate")
    assert told
    assert chart.data[column].to_list() == told
    spec = chart.to_dict()
    assert spec["width"] == "container"
    seen = {field["field"] for layer in spec["layer"] for field in layer["encoding"].get("tooltip", [])}
    assert column in seen
    assert not seen & {"low_end", "high_end"}


def test_a_chart_that_does_not_exist_or_has_no_data_says_so(evaluate):
    with pytest.raises(ConfigError, match="'forest'; expected one of effects, shift, over_time, course"):
        exhibits.draw_result(evaluate(VALUES, HALVED), sample_of(VALUES, HALVED), "forest")
    with pytest.raises(ExperimentError, match="has nothing to draw as 'over_time' yet"):
        exhibits.draw_result(evaluate([], []), sample_of([], []), "over_time")


@pytest.mark.long
def test_a_chart_carries_what_draws_it_and_a_second_one_declares_nothing_again(evaluate):
    names = set()
    for _ in range(2):
        chart = exhibits.draw_result(evaluate(VALUES, HALVED), sample_of(VALUES, HALVED), "shift")
        page = chart.properties(title="</script><script>bad()")._repr_mimebundle_()["text/html"]
        assert (page.count("<script"), page.count("</script>")) == (1, 1)
        assert "src=" not in page.partition("<script>")[0]
        assert re.search(r"<script>\(\(\) => \{ if \(!window.vegaEmbed\)", page)
        assert page.endswith("; })()</script>")
        names |= set(re.findall(r"<div id='([\w-]+)'", page))
    assert len(names) == 2
