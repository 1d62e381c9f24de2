"""Five machines, one of them late and one with copies of another's sessions, against one store that holds all."""

from pathlib import Path

import pytest
from lake_cases import (
    KEY,
    LATER_MS,
    MACHINES,
    START_MS,
    contents,
    expected_metrics,
    export,
    make_cases,
    make_experiment,
    name_agent,
    name_id,
    name_model,
    start_experiment,
    write_store,
)
from polars.testing import assert_frame_equal

from kaizen_analytics.core.metrics import OUTCOMES
from kaizen_analytics.core.model import Branch, Classification, ManualTag
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.exports.lake.reading import name_workspace, read_metrics
from kaizen_analytics.pages.documents import evaluation_document
from kaizen_analytics.stats import DesignKind
from kaizen_analytics.store import Store

EXPERIMENTS = {
    "exp-1": (make_experiment(), {"cluster": Cluster.WORKSPACE}),
    "exp-organisation": (make_experiment(id="exp-organisation"), {"cluster": Cluster.ORGANISATION}),
    "exp-scoped": (make_experiment(id="exp-scoped"), {"cluster": Cluster.NONE, "workspaces": ("/srv/Team0",)}),
    "exp-branch": (
        make_experiment(id="exp-branch", binding=Branch("old", "new")),
        {"design": DesignKind.OPEN, "cluster": Cluster.USER},
    ),
    "exp-manual": (make_experiment(id="exp-manual", binding=ManualTag("")), {"cluster": Cluster.NONE}),
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A lake that five machines exported to, and the one store that holds all they have."""
    folder = tmp_path_factory.mktemp("team")
    cases = [make_cases(machine) for machine in range(MACHINES)]
    single = write_store(folder / "single.db", [case for own in cases for case in own])
    stores = [write_store(folder / f"m{machine}.db", own) for machine, own in enumerate(cases[:3])]
    # Machine 3 also holds sessions of machine 2: some whole, some as they were half-way.
    copied = [case if number % 2 else case.cut(3) for number, case in enumerate(cases[2])]
    stores.append(write_store(folder / "m3.db", [*cases[3], *copied]))
    # Machine 4 exports while its last sessions are still running, and again late.
    stores.append(write_store(folder / "m4.db", [case.cut(2) for case in cases[4]]))
    for experiment, plan in EXPERIMENTS.values():
        for store in (single, stores[0]):
            start_experiment(store, experiment, **plan)
            if experiment.id == "exp-manual":
                tag_some(store, cases[1][0].row["id"], cases[2][0].row["id"])
    lake = folder / "lake"
    for machine, store in enumerate(stores):
        export(store, lake, folder / f"home{machine}")
    write_store(stores[4], cases[4])
    for machine, store in enumerate(stores):
        export(store, lake, folder / f"home{machine}")
    return lake, single


def tag_some(path: Path, *others: object) -> None:
    with Store.open(path) as store:
        for arm, numbers in ((Classification.CONTROL, range(6)), (Classification.TREATMENT, range(6, 12))):
            names = [f"S{machine}-{number:03d}" for machine in (0, 3, 4) for number in numbers if number % 4 != 3]
            lifecycle.tag(store, "exp-manual", names, arm, now_ms=START_MS)
        lifecycle.tag(store, "exp-manual", [str(name) for name in others], Classification.EXCLUDED, now_ms=START_MS)


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
