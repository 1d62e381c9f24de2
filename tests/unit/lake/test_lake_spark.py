"""A lake on Spark: the server reads the files itself and gives the frame that this process gives."""

from pathlib import Path

import pytest
from lake_cases import LATER_MS, export, make_cases, name_id, start_experiment, write_store
from polars.testing import assert_frame_equal

from kaizen_analytics.cli import main
from kaizen_analytics.exports.engines import SparkEngine
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.exports.lake.reading import read_metrics


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two machines, the second with a shorter copy of a session of the first."""
    folder = tmp_path_factory.mktemp("spark")
    first = write_store(folder / "0.db", make_cases(0))
    second = write_store(folder / "1.db", [*make_cases(1), make_cases(0)[4].cut(2)])
    start_experiment(first)
    for number, store in enumerate((first, second)):
        export(store, folder / "lake", folder / str(number))
    return folder / "lake"


@pytest.mark.parametrize("counting", ["rolled up", "apart"])
def test_metrics_are_the_same_frame(team: Path, spark: SparkEngine, counting: str) -> None:
    here = read_metrics(str(team), rollup=counting == "rolled up")
    there = read_metrics(str(team), rollup=counting == "rolled up", engine=spark)
    assert_frame_equal(there, here, check_exact=True)
    assert here.height == (22 if counting == "rolled up" else 28)


def test_an_evaluation_is_the_same(team: Path, spark: SparkEngine) -> None:
    here, there = (
        evaluate_lake(str(team), name_id("exp-1"), now_ms=LATER_MS, helpers=Helpers(engine=engine))
        for engine in (None, spark)
    )
    assert there == here


def test_the_command_reads_a_lake_on_spark(
    team: Path, spark: SparkEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for options in ([], ["--engine", "spark", "--spark-remote", spark.remote]):
        monkeypatch.setattr("sys.argv", ["kaizen-analytics", "metrics", "--lake", str(team), "--json", *options])
        with pytest.raises(SystemExit, match="0"):
            main()
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "tokens_per_session" in printed[0]
