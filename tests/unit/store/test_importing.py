"""`import_kaizen`: what comes out of a file of kaizen-cli, once, and what it must not touch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from store_cases import KAIZEN_MARKS, KAIZEN_SCHEMA, KAIZEN_SESSIONS, make_experiment, run_foreign, run_script

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ExperimentError, StoreError, StoreMissingError, VariantConflictError
from kaizen_analytics.core.model import Classification, Direction, GuardrailSpec, Metric, State
from kaizen_analytics.store import (
    Store,
    list_experiments,
    load_experiment,
    manual_tags,
    save_experiment,
    set_state,
    tag_session,
    untag_session,
)
from kaizen_analytics.store.experiments import load_plan, write_plan
from kaizen_analytics.store.importing import _ImportSummary, import_kaizen
from kaizen_analytics.store.location import Location, _slug, locate_store, move_former_store

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.core.model import Experiment

CONTROL, TREATMENT, EXCLUDED = Classification.CONTROL, Classification.TREATMENT, Classification.EXCLUDED
TABLES = ("session_feedback", "session_outcomes", "session_evals", "session_samples", "file_facts")


def summary(experiments: int = 0, tags: int = 0, **rows: int) -> _ImportSummary:
    counts = {**dict.fromkeys(TABLES, 0), **rows}
    return _ImportSummary(experiments=experiments, tags=tags, rows=counts, unreadable=())


NOTHING = summary()


def insert_experiment(experiment: Experiment) -> str:
    text = codec.write(experiment).replace("'", "''")
    return (
        f"insert into experiments values ('{experiment.id}', '{experiment.name}', {experiment.created_at_ms}, "
        f"'{text}', '{experiment.state}', {experiment.concluded_at_ms or 'null'});"
    )


def tag_text(session_id: str, variant: str, experiment_id: str = "exp-1") -> str:
    return f"insert into experiment_tags values ('{experiment_id}', '{session_id}', '{variant}');"


RUNNING = make_experiment(state=State.RUNNING)
ROWS = (
    insert_experiment(RUNNING)
    + insert_experiment(make_experiment(id="exp-2", created_at_ms=5))
    + "insert into experiments values ('bad', 'n', 1, '{', 'Draft', null);"
    + tag_text("s1", "Control")
    + tag_text("s2", "Treatment")
    + tag_text("s3", "Perhaps")
    + "insert into sessions (id, agent, workspace, started_at_ms, status, trace_path) "
    "values ('s1', 'claude', '/w', 1, 'Done', 't');"
    "insert into session_feedback values ('f', 's1', 4, 'good', 'it''s fine', 7);"
    "insert into session_evals values ('v', 's1', 'm', 'r', 0.1, 'because', 0, 8);"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of kaizen-cli."""
    path = tmp_path / "theirs" / "kaizen.db"
    path.parent.mkdir()
    run_script(path, KAIZEN_SCHEMA + KAIZEN_SESSIONS + KAIZEN_MARKS + ROWS)
    return path


@pytest.fixture
def imported(store: Store, file: Path) -> Store:
    """Return a store that took over what the file holds."""
    done = import_kaizen(store, file, now_ms=9)
    assert replace(done, unreadable=()) == summary(2, 3, session_feedback=1, session_evals=1)
    assert [item.id for item in done.unreadable] == ["bad"]
    return store


def test_experiments_tags_and_remarks_are_taken_and_sessions_are_not(imported: Store, path: Path):
    assert [item.id for item in list_experiments(imported)] == ["exp-1", "exp-2"]
    assert load_experiment(imported, "exp-1") == RUNNING
    assert load_plan(imported, "exp-1") is None
    assert manual_tags(imported, "exp-1") == {"s1": CONTROL, "s2": TREATMENT, "s3": EXCLUDED}
    assert run_foreign(path, "select * from session_feedback") == [["f", "s1", 4, "good", "it's fine", 7]]
    assert run_foreign(path, "select score, judge_model from session_evals") == [[0.1, "m"]]
    assert run_foreign(path, "select count(*) from sessions") == [[0]]
    assert run_foreign(path, "select distinct action, at_ms from ka_tag_log") == [["tag", 9]]


def test_the_file_is_only_read(store: Store, file: Path):
    before = run_foreign(file, "select sql from sqlite_master"), file.read_bytes()
    import_kaizen(store, file, now_ms=9)
    assert (run_foreign(file, "select sql from sqlite_master"), file.read_bytes()) == before


def test_a_second_import_adds_only_what_is_new(imported: Store, file: Path):
    assert replace(import_kaizen(imported, file, now_ms=10), unreadable=()) == NOTHING
    run_script(file, tag_text("s4", "Control") + "update session_feedback set score = 2")
    run_script(file, "update experiments set state = 'Concluded', concluded_at_ms = 11 where id = 'exp-1'")

    again = import_kaizen(imported, file, now_ms=12)

    assert replace(again, unreadable=()) == summary(1, 1, session_feedback=1)
    assert load_experiment(imported, "exp-1").concluded_at_ms == 11
    assert manual_tags(imported, "exp-1")["s4"] is CONTROL


def test_an_experiment_that_was_planned_here_keeps_its_state_and_may_not_differ(imported: Store, file: Path):
    with imported.write():
        write_plan(imported, "exp-1", {}, 5)
    set_state(imported, "exp-1", State.ARCHIVED, 6)
    assert replace(import_kaizen(imported, file, now_ms=10), unreadable=()) == NOTHING
    assert load_experiment(imported, "exp-1").state is State.ARCHIVED

    other = codec.write(replace(RUNNING, duration_days=7))
    run_script(file, f"update experiments set metadata = '{other}' where id = 'exp-1';" + tag_text("s9", "Control"))
    with pytest.raises(ExperimentError, match=r"exp-1 was planned in .* has another duration_days\. Nothing"):
        import_kaizen(imported, file, now_ms=10)
    assert "s9" not in manual_tags(imported, "exp-1")


def test_another_arm_is_a_conflict_that_imports_nothing(store: Store, file: Path):
    save_experiment(store, RUNNING)
    tag_session(store, "exp-1", "s2", CONTROL)
    with pytest.raises(VariantConflictError, match=r"variant conflict: session s2 is tagged Control.*not Treatment"):
        import_kaizen(store, file, now_ms=9)
    assert manual_tags(store, "exp-1") == {"s2": CONTROL}
    assert [item.id for item in list_experiments(store)] == ["exp-1"]


def test_a_tag_that_was_removed_here_stays_removed(imported: Store, file: Path):
    untag_session(imported, "exp-1", "s1", "wrong session")
    assert import_kaizen(imported, file, now_ms=10).tags == 0
    assert "s1" not in manual_tags(imported, "exp-1")


def test_a_file_that_a_former_version_shared_keeps_its_plans_and_own_metrics(store: Store, file: Path):
    experiment = make_experiment(id="ours", metric=Metric.ACTIVE_MINUTES, created_at_ms=2)
    text = codec.write(experiment)
    run_script(
        file,
        "create table ka_experiments (id, name, created_at_ms INTEGER, metadata TEXT, state TEXT, concluded_at_ms);"
        "create table ka_guardrails (experiment_id TEXT, guardrails TEXT);"
        "create table ka_plans (experiment_id TEXT PRIMARY KEY, plan TEXT NOT NULL, frozen_at_ms INTEGER);"
        f"insert into ka_experiments values ('ours', 'n', 2, '{text}', 'Draft', null);"
        "insert into ka_guardrails values ('exp-1', '[[0, \"CacheHitRate\", \"Decrease\", 3.0]]');"
        "insert into ka_plans values ('exp-1', '{\"alpha\": 0.1}', 4);",
    )

    assert import_kaizen(store, file, now_ms=9).experiments == 3
    assert load_experiment(store, "ours") == experiment
    assert load_experiment(store, "exp-1").guardrails == (
        GuardrailSpec(Metric.CACHE_HIT_RATE, Direction.DECREASE, 3.0),
        *RUNNING.guardrails,
    )
    assert load_plan(store, "exp-1") == {"alpha": 0.1}
    assert replace(import_kaizen(store, file, now_ms=9), unreadable=()) == NOTHING


def test_a_file_without_some_tables_and_columns_gives_what_it_has(store: Store, tmp_path: Path):
    early = tmp_path / "early.db"
    run_script(
        early, KAIZEN_SCHEMA + "create table session_outcomes (session_id TEXT PRIMARY KEY, test_failed INTEGER);"
    )
    run_script(early, insert_experiment(RUNNING) + "insert into session_outcomes values ('s', 3)")
    assert import_kaizen(store, early, now_ms=9) == summary(1, session_outcomes=1)
    assert store.native("select session_id, test_failed, lint_errors from session_outcomes") == [("s", "3", None)]


def test_what_is_no_file_of_kaizen_is_refused(store: Store, tmp_path: Path):
    with pytest.raises(StoreMissingError):
        import_kaizen(store, tmp_path / "no.db", now_ms=9)
    with pytest.raises(StoreError, match="is the store itself"):
        import_kaizen(store, store.path, now_ms=9)
    other = tmp_path / "other.db"
    run_script(other, "create table notes (a)")
    with pytest.raises(StoreError, match="another program's database"):
        import_kaizen(store, other, now_ms=9)


# Where a store is


def test_a_workspace_has_a_store_of_its_own_beside_that_of_kaizen(tmp_path: Path):
    repository = tmp_path / "home" / "My App.v2"
    (repository / ".git").mkdir(parents=True)
    (tmp_path / "link").symlink_to(repository)
    name = str(tmp_path / "home" / "My App.v2").strip("/").replace("/", "-")
    found = locate_store(None, environment={"KAIZEN_HOME": "/k"}, folder=tmp_path / "link", home=tmp_path)
    assert found == Location(type(tmp_path)("/k/projects") / name / "analytics.db", repository)
    assert _slug(tmp_path / "link") == name
    assert locate_store(tmp_path / "s.db", environment={}, folder=tmp_path, home=tmp_path).workspace is None


def test_a_store_of_a_former_version_is_moved_once_with_all_it_holds(tmp_path: Path):
    location = Location(tmp_path / "projects" / "home-app" / "analytics.db", tmp_path)
    former = tmp_path / "projects" / "-home-app" / "kaizen.db"
    assert move_former_store(location) is None
    with Store.open(former, create=True) as store:
        save_experiment(store, RUNNING)
    former.with_name("kaizen.exposures.jsonl").write_text("{}\n")

    assert move_former_store(location) == former
    assert move_former_store(location) is None

    assert list(former.parent.iterdir()) == []
    assert location.path.with_name("analytics.exposures.jsonl").read_text() == "{}\n"
    with Store.open(location.path, ours=True) as store:
        assert list_experiments(store) == [RUNNING]


def test_a_store_that_is_there_already_is_never_replaced(tmp_path: Path):
    location = Location(tmp_path / "projects" / "home-app" / "analytics.db", tmp_path)
    former = tmp_path / "projects" / "-home-app" / "kaizen.db"
    for path in (location.path, former):
        Store.open(path, create=True).close()
    assert move_former_store(location) is None
    assert former.exists()
