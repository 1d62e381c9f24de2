"""Experiments on a lake: bindings that need the key or the repository, several stores that disagree, conclusions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from experiment_cases import commit, git, make_repository
from lake_cases import (
    DAY_MS,
    KEY,
    LATER_MS,
    START_MS,
    Case,
    export,
    make_cases,
    make_experiment,
    name_id,
    start_experiment,
    write_store,
)

from kaizen_analytics.core.errors import ExperimentError, ExperimentNotFoundError, RepositoryError
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import Branch, Classification, GitCommit, ManualTag, WorkUnit
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, Evaluation
from kaizen_analytics.experiments.plan import Cluster, Plan
from kaizen_analytics.exports.lake.experiments import Helpers, evaluate_lake
from kaizen_analytics.store import Store


def evaluate(lake: Path, experiment_id: str, repository: Repository | None = None) -> Evaluation:
    helpers = Helpers(key=KEY, repository=repository)
    return evaluate_lake(str(lake), experiment_id, now_ms=LATER_MS, helpers=helpers)


def evaluate_store(path: Path, experiment_id: str) -> Evaluation:
    with Store.open(path, read_only=True) as store:
        return lifecycle.evaluate(store, experiment_id, now_ms=LATER_MS)


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Repository, list[str]]:
    """A repository and its five commits, the oldest first."""
    folder = make_repository(tmp_path / "repository")
    return Repository.open(folder), [commit(folder, str(number)) for number in range(5)]


def on_commits(cases: list[Case], commits: list[str]) -> list[Case]:
    rows = [{**case.row, "start_commit": commits[n % len(commits)], "branch": None} for n, case in enumerate(cases)]
    return [Case(row, case.events, case.files) for row, case in zip(rows, cases, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["commit", pytest.param("branch", marks=pytest.mark.long)])
def test_commits_are_told_apart_with_the_repository(
    tmp_path: Path, lake: Path, home: Path, repository: tuple[Repository, list[str]], kind: str
) -> None:
    found, commits = repository
    git(found.root, "branch", "old", commits[1])
    git(found.root, "branch", "new", commits[3])
    binding = GitCommit(commits[1], commits[3]) if kind == "commit" else Branch("old", "new")
    cases = [*on_commits(make_cases(0), commits), *on_commits(make_cases(1), ["f" * 40, *commits[3:]])]
    store = write_store(tmp_path / "s.db", cases)
    start_experiment(store, make_experiment(binding=binding), repository=str(found.root), cluster=Cluster.NONE)
    export(store, lake, home)

    expected, answer = evaluate_store(store, "exp-1"), evaluate(lake, "exp-1", found)
    assert answer.primary == expected.primary
    assert dict(answer.excluded) == dict(expected.excluded)
    for name in ("repository", "control_ref", "treatment_ref"):
        assert answer.provenance[name] == expected.provenance[name]
    with pytest.raises(ExperimentError, match=r"by commits.*inside the repository.*--lake-key"):
        evaluate(lake, "exp-1")
    with pytest.raises(RepositoryError, match="has no commit that experiment"):
        evaluate(lake, "exp-1", Repository.open(make_repository(tmp_path / "other")))


@pytest.mark.slow
def test_arms_from_payloads(tmp_path: Path, lake: Path, home: Path) -> None:
    values = ["A", " control", "b", "Treatment", "neither", "x", None]
    cases = make_cases(0)
    for number, case in enumerate(cases):
        value = values[number % len(values)]
        case.events[-1]["payload"] = "{}" if value is None else f'{{"arm": "{value}"}}'
    cases[4].events[0]["payload"] = '{"arm": "secret"}'
    cases[8].events[0]["payload"] = '{"arm": "b"}'
    store = write_store(tmp_path / "s.db", cases)
    start_experiment(store, make_experiment(binding=ManualTag("arm")), cluster=Cluster.NONE)
    export(store, lake, home)
    expected, answer = evaluate_store(store, "exp-1"), evaluate(lake, "exp-1")
    assert answer.primary == expected.primary
    assert dict(answer.excluded) == dict(expected.excluded)
    assert len(answer.excluded) == 3


@pytest.mark.slow
def test_stores_that_disagree_on_a_tag_count_the_session_in_no_arm_and_on_a_rule_say_so(
    tmp_path: Path, lake: Path
) -> None:
    arms = {"one": (Classification.CONTROL, 0.05), "two": (Classification.TREATMENT, 0.1)}
    for name, (arm, alpha) in arms.items():
        store = write_store(tmp_path / f"{name}.db", make_cases(0))
        start_experiment(store, make_experiment(binding=ManualTag("")), alpha=alpha, cluster=Cluster.NONE)
        with Store.open(store) as opened:
            lifecycle.tag(opened, "exp-1", ["S0-000"], arm, now_ms=START_MS)
            lifecycle.tag(opened, "exp-1", ["S0-001", "S0-002"], Classification.CONTROL, now_ms=START_MS)
        export(store, lake, tmp_path / name)
    answer = evaluate(lake, "exp-1")
    assert {
        Caution(kind=CautionKind.CONFLICTING_TAGS, count=1),
        Caution(kind=CautionKind.CONFLICTING_RULES, count=2),
    } <= set(answer.quality.cautions)
    assert answer.excluded["tagged Excluded"] == 1
    assert answer.primary.control.n == 2


@pytest.mark.slow
def test_a_concluded_experiment_is_recomputed_as_of_its_conclusion(tmp_path: Path, lake: Path, home: Path) -> None:
    store = write_store(tmp_path / "s.db", make_cases(0))
    start_experiment(store, cluster=Cluster.NONE)
    with Store.open(store) as opened:
        frozen = lifecycle.conclude(opened, "exp-1", now_ms=START_MS + 15 * DAY_MS)
    export(store, lake, home)
    answer = evaluate(lake, "exp-1")
    assert (answer.primary, answer.as_of_ms) == (frozen.primary, frozen.as_of_ms)
    assert "not_frozen" in answer.flags
    assert Caution(kind=CautionKind.RECOMPUTED) in answer.quality.cautions


def test_an_experiment_that_is_unknown_a_draft_or_on_tasks_is_an_error(tmp_path: Path, lake: Path, home: Path) -> None:
    store = write_store(tmp_path / "s.db", make_cases(0))
    start_experiment(store, cluster=Cluster.NONE)
    start_experiment(store, make_experiment(id="tasks"), cluster=Cluster.NONE, unit=WorkUnit.TASK)
    with Store.open(store) as opened:
        lifecycle.new_experiment(opened, make_experiment(id="draft"), Plan())
    export(store, lake, home)
    with pytest.raises(ExperimentNotFoundError, match=rf"no started experiment 'draft'; it holds {name_id('exp-1')}"):
        evaluate(lake, "draft")
    with pytest.raises(ExperimentNotFoundError, match="unless it compares tasks or days"):
        evaluate(lake, "tasks")
    with pytest.raises(ExperimentNotFoundError, match="Without the lake key only pseudonyms"):
        evaluate_lake(str(lake), "exp-1", now_ms=LATER_MS)


@pytest.mark.slow
def test_the_commands(
    store: Path, lake: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: Callable[..., Any]
) -> None:
    monkeypatch.setenv("KAIZEN_HOME", str(home))
    start_experiment(store, cluster=Cluster.NONE)
    export, shown = ("export", "lake", "--to", lake, "--store", store), ("exp", "evaluate", "exp-1")
    assert "--make-key" in program(*export).err
    assert program("export", "lake", "--make-key").code == 0
    assert "files to write, 0 up to date" in program(*export, "--preview").out
    assert not lake.exists()
    assert "files_written" in program(*export, "--json").json()
    assert "2 sessions" in program("metrics", "--lake", lake, "--workspace", "/srv/Team0/sub").out
    assert "5 sessions" in program("metrics", "--lake", lake, "--workspace", "/srv/Team0").out
    monkeypatch.chdir(tmp_path)
    assert "there are not enough sessions" in program(*shown, "--lake", lake).out
    assert program(*shown, "--lake", lake, "--store", store).code == 2
    assert program(*shown, "--engine", "duckdb", "--store", store).code == 2
    assert program("metrics", "--lake", lake, "--store", store).code == 2
