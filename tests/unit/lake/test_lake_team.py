"""Five machines, one of them late and one with copies of another's sessions, against one store that holds all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lake_cases import (
    EXPERIMENTS,
    KEY,
    LATER_MS,
    MACHINES,
    contents,
    expected_metrics,
    export,
    name_agent,
    name_id,
    name_model,
)
from polars.testing import assert_frame_equal

from kaizen_analytics.core.metrics import OUTCOMES
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.exports.engines import _SparkEngine
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.exports.lake.reading import name_workspace, read_metrics
from kaizen_analytics.pages.documents import evaluation_document
from kaizen_analytics.store import Store


@pytest.mark.parametrize("counting", ["rolled up", "apart"])
def test_every_metric_has_the_digits_of_one_store(team: tuple[Path, Path], counting: str) -> None:
    lake, single = team
    found = read_metrics(str(lake), rollup=counting == "rolled up", key=KEY)
    assert_frame_equal(found, expected_metrics(single, rollup=counting == "rolled up"), check_exact=True)
    # What 'outcomes' finds out, and what proves a finding, stays in its store.
    empty = {column for column in found.columns if found[column].is_null().all()}
    assert empty == {one.column for one in OUTCOMES} | {"finding_rate", "lines_added", "lines_surviving"}


@pytest.mark.slow
@pytest.mark.parametrize("experiment_id", EXPERIMENTS)
def test_every_evaluation_is_that_of_one_store(team: tuple[Path, Path], experiment_id: str) -> None:
    lake, single = team
    found = evaluate_lake(str(lake), experiment_id, now_ms=LATER_MS, helpers=Helpers(key=KEY))
    with Store.open(single, read_only=True) as store:
        expected = lifecycle.evaluate(store, experiment_id, now_ms=LATER_MS)
    assert comparable(found) == comparable(expected, rename=True)
    assert found.primary.control.n >= 8
    assert found.excluded or experiment_id != "exp-manual"


def comparable(evaluation: Evaluation, *, rename: bool = False) -> dict[str, object]:
    """What does not name anything, and the segments by their names in the lake."""
    names = {"workspace": lambda text: name_workspace(text, KEY), "model": name_model, "agent": name_agent}
    document = evaluation_document(evaluation)
    for name in ("experiment_id", "name", "experiment", "plan", "provenance", "next_actions", "settle"):
        del document[name]
    segments = {}
    for segment in document.pop("segments"):
        value = names[segment["dimension"]](segment["value"]) if rename else segment["value"]
        segments[segment["dimension"], value] = segment["result"]
    return {**document, "segments": segments}


def test_exporting_again_changes_no_byte(team: tuple[Path, Path]) -> None:
    lake, _ = team
    before = contents(lake)
    for machine in range(MACHINES):
        done = export(lake.parent / f"m{machine}.db", lake, lake.parent / f"home{machine}")
        assert (len(done.files), done.files_removed, done.rows) == (0, 0, 0)
    assert contents(lake) == before


def test_an_experiment_is_found_by_its_stand_in_without_the_key(team: tuple[Path, Path]) -> None:
    lake, _ = team
    found = evaluate_lake(str(lake), name_id("exp-1")[:9], now_ms=LATER_MS)
    assert found.experiment.id == name_id("exp-1")


def test_shards_give_the_same_frame(team: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = team
    whole = read_metrics(str(lake))
    monkeypatch.setattr("kaizen_analytics.exports.lake.reading._SHARD_EVENTS", 40)
    assert_frame_equal(read_metrics(str(lake)), whole, check_exact=True)


# On Spark: the server reads the files itself and gives the frame that this process gives


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
