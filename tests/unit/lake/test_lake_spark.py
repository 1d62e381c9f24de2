"""A lake on Spark: the server reads the files itself and gives the frame that this process gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lake_cases import LATER_MS, name_id
from polars.testing import assert_frame_equal

from kaizen_analytics.exports.engines import _SparkEngine
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.exports.lake.reading import read_metrics


@pytest.mark.parametrize("counting", ["rolled up", "apart"])
def test_metrics_are_the_same_frame(team: tuple[Path, Path], spark: _SparkEngine, counting: str) -> None:
    here = read_metrics(str(team[0]), rollup=counting == "rolled up")
    there = read_metrics(str(team[0]), rollup=counting == "rolled up", engine=spark)
    assert_frame_equal(there, here, check_exact=True)
    assert here.height == (55 if counting == "rolled up" else 70)


def test_an_evaluation_is_the_same(team: tuple[Path, Path], spark: _SparkEngine) -> None:
    here, there = (
        evaluate_lake(str(team[0]), name_id("exp-1"), now_ms=LATER_MS, helpers=Helpers(engine=engine))
        for engine in (None, spark)
    )
    assert there == here


def test_the_command_reads_a_lake_on_spark(
    team: tuple[Path, Path], spark: _SparkEngine, program: Callable[..., Any]
) -> None:
    printed = []
    for options in ([], ["--engine", "spark", "--spark-remote", spark.remote]):
        answer = program("metrics", "--lake", team[0], "--json", *options)
        assert answer.code == 0
        printed.append(answer.out)
    assert printed[0] == printed[1]
    assert "tokens_per_session" in printed[0]
