"""Experiments and tags in the rows that kaizen-cli shares: what its own tests fix, and what we promise beyond."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from store_cases import dump, make_experiment, run_foreign, run_script

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import (
    ExperimentError,
    ExperimentNotFoundError,
    FrozenError,
    StoreError,
    VariantConflictError,
)
from kaizen_analytics.core.model import (
    Absolute,
    Branch,
    Classification,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    Metric,
    PromptFingerprint,
    State,
)
from kaizen_analytics.store import (
    Store,
    get_experiment,
    is_frozen,
    list_experiments,
    load_experiment,
    manual_tags,
    save_experiment,
    set_state,
    tag_session,
    tag_sessions,
    unreadable_experiments,
    untag_session,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTROL, TREATMENT, EXCLUDED = Classification
TAG_LOG = "select session_id, variant, action, reason from ka_tag_log order by id"


def guardrail(metric: Metric, direction: Direction = Direction.INCREASE) -> GuardrailSpec:
    return GuardrailSpec(metric=metric, regression_direction=direction, threshold_pct=5)


def freeze(store: Store, experiment_id: str = "exp-1") -> None:
    store.native("insert into ka_results values (?, '{}', 1) returning 1", experiment_id)


def row(path: Path, table: str = "experiments") -> list[object]:
    [found] = run_foreign(path, f"select id, name, created_at_ms, metadata, state, concluded_at_ms from {table}")
    return found


# Experiments


@pytest.mark.parametrize(
    "experiment",
    [
        make_experiment(),
        make_experiment(name="it's \"ünï\" 😀\n\x00\x1f", guardrails=(), hypothesis="", change_description="\\"),
        make_experiment(binding=GitCommit("a", "b"), success_criterion=Absolute(0.5)),
        make_experiment(binding=Branch("main", "it's"), duration_days=0),
        make_experiment(binding=PromptFingerprint("a", "b"), state=State.CONCLUDED, concluded_at_ms=2**53 + 1),
        make_experiment(metric=Metric.TOOL_ERROR_RATE, guardrails=[guardrail(metric) for metric in Metric]),
        make_experiment(extra={"later": {"a": [1.5, None]}, "binding": {"ManualTag": {"also": True}}}),
    ],
)  # fmt: skip
def test_an_experiment_comes_back_as_it_was_saved(store: Store, path: Path, experiment: Experiment):
    save_experiment(store, experiment)
    with Store.open(path, read_only=True) as other:
        assert load_experiment(other, experiment.id) == experiment
        assert list_experiments(other) == [experiment]


def test_an_unknown_experiment_is_none(store: Store):
    assert load_experiment(store, "nobody") is None
    assert list_experiments(store) == []


def test_saving_writes_kaizens_row(store: Store, path: Path):
    experiment = make_experiment()
    save_experiment(store, experiment)
    assert row(path) == ["exp-1", "Shorter prompt", 1_700_000_000_000, codec.write(experiment), "Draft", None]


def test_saving_again_updates_all_but_the_time_of_creation(store: Store, path: Path):
    save_experiment(store, make_experiment())
    save_experiment(store, make_experiment(name="New", created_at_ms=5, state=State.RUNNING))
    assert row(path)[:3] == ["exp-1", "New", 1_700_000_000_000]
    assert json.loads(str(row(path)[3]))["created_at_ms"] == 1_700_000_000_000
    assert load_experiment(store, "exp-1") == make_experiment(name="New", state=State.RUNNING)


def test_the_row_decides_over_its_json(store: Store, path: Path):
    save_experiment(store, make_experiment())
    run_foreign(path, "update experiments set state = 'Concluded', concluded_at_ms = 9, created_at_ms = 8")
    loaded = load_experiment(store, "exp-1")
    assert (loaded.state, loaded.concluded_at_ms, loaded.created_at_ms) == (State.CONCLUDED, 9, 8)


def test_experiments_are_listed_newest_first(store: Store):
    for name, created_at_ms in (("old", 1), ("new", 3), ("b", 2), ("a", 2)):
        save_experiment(store, make_experiment(id=name, created_at_ms=created_at_ms))
    save_experiment(store, make_experiment(id="ours", created_at_ms=4, metric=Metric.ACTIVE_MINUTES))
    assert [item.id for item in list_experiments(store)] == ["ours", "new", "a", "b", "old"]


# Rows that cannot be read

GOOD = codec.write(make_experiment())
BAD_ROWS = {
    "not json": "('bad', 'n', 1, '{', 'Draft', null)",
    "nan": "('bad', 'n', 1, '" + GOOD.replace("-20.0", "NaN") + "', 'Draft', null)",
    "deep": "('bad', 'n', 1, '" + "[" * 50_000 + "', 'Draft', null)",
    "array": "('bad', 'n', 1, '[1]', 'Draft', null)",
    "missing field": "('bad', 'n', 1, '{}', 'Draft', null)",
    "unknown metric": "('bad', 'n', 1, '" + GOOD.replace("TokensPerSession", "Vibes") + "', 'Draft', null)",
    "unknown state": f"('bad', 'n', 1, '{GOOD}', 'Paused', null)",
    "text for a time": f"('bad', 'n', 'yesterday', '{GOOD}', 'Draft', null)",
    "not utf-8": "('bad', 'n', 1, cast(x'7bff' as text), 'Draft', null)",
    "blob": "('bad', 'n', 1, x'00ff', 'Draft', null)",
}


@pytest.mark.parametrize("values", BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_an_unreadable_row_is_reported_and_never_overwritten(store: Store, path: Path, values: str):
    run_foreign(path, f"insert into experiments values {values}")
    save_experiment(store, make_experiment())
    before = run_foreign(path, "select hex(metadata), hex(state), created_at_ms from experiments where id = 'bad'")

    assert [item.id for item in list_experiments(store)] == ["exp-1"]
    [unreadable] = unreadable_experiments(store)
    assert unreadable.id == "bad"
    assert unreadable.reason.startswith("Experiment bad cannot be read: ")
    attempts: list[Callable[[], object]] = [
        lambda: load_experiment(store, "bad"),
        lambda: get_experiment(store, "ba"),
        lambda: save_experiment(store, make_experiment(id="bad")),
        lambda: set_state(store, "bad", State.RUNNING, 1),
    ]
    for attempt in attempts:
        with pytest.raises(ExperimentError, match="Experiment bad cannot be read"):
            attempt()
    assert (
        run_foreign(path, "select hex(metadata), hex(state), created_at_ms from experiments where id = 'bad'") == before
    )


# Finding one


def test_a_unique_prefix_is_enough(store: Store):
    for name in ("abc", "abd", "b", "bc"):
        save_experiment(store, make_experiment(id=name))
    assert get_experiment(store, "abc").id == "abc"
    assert get_experiment(store, "b").id == "b"
    with pytest.raises(ExperimentError, match="start of several experiments: abc, abd"):
        get_experiment(store, "ab")
    with pytest.raises(ExperimentNotFoundError, match=r"Did you mean 'ab[cd]'\?"):
        get_experiment(store, "abx")
    with pytest.raises(ExperimentNotFoundError, match="experiment not found"):
        get_experiment(store, "")


# States


def test_states_are_written_as_told(store: Store, path: Path):
    save_experiment(store, make_experiment())
    for state, concluded_at_ms in ((State.RUNNING, None), (State.CONCLUDED, 42), (State.ARCHIVED, 42)):
        set_state(store, "exp-1", state, 42)
        loaded = load_experiment(store, "exp-1")
        assert (loaded.state, loaded.concluded_at_ms) == (state, concluded_at_ms)
        assert row(path)[4:] == [state.value, concluded_at_ms]
        assert json.loads(str(row(path)[3]))["state"] == state.value


def test_the_state_of_an_unknown_experiment_cannot_be_set(store: Store):
    with pytest.raises(ExperimentNotFoundError, match=r"^experiment not found: nobody$"):
        set_state(store, "nobody", State.RUNNING, 1)


# Tags


def test_tags_come_back(store: Store, path: Path):
    for session, variant in (("s1", CONTROL), ("s2", TREATMENT), ("it's 😀", EXCLUDED)):
        tag_session(store, "exp-1", session, variant)
    expected = {"s1": CONTROL, "s2": TREATMENT, "it's 😀": EXCLUDED}
    assert manual_tags(store, "exp-1") == expected
    assert manual_tags(store, "exp-2") == {}
    assert run_foreign(path, "select * from experiment_tags order by 2")[1] == ["exp-1", "s1", "Control"]


def test_an_unknown_variant_reads_as_excluded(store: Store, path: Path):
    run_foreign(path, "insert into experiment_tags values ('exp-1', 's', 'control')")
    assert manual_tags(store, "exp-1") == {"s": EXCLUDED}


def test_the_same_variant_again_changes_nothing(store: Store, path: Path):
    for now_ms in (1, 2):
        tag_session(store, "exp-1", "s", CONTROL, now_ms=now_ms)
    assert run_foreign(path, "select * from experiment_tags") == [["exp-1", "s", "Control"]]
    assert run_foreign(path, "select at_ms from ka_tag_log") == [[1]]


def test_another_variant_is_a_conflict_that_changes_nothing(store: Store, path: Path):
    tag_session(store, "exp-1", "s", CONTROL)
    with pytest.raises(VariantConflictError, match="variant conflict") as caught:
        tag_session(store, "exp-1", "s", TREATMENT)
    for part in ("s", "Control", "Treatment", "exp-1", "exp untag exp-1 s --reason"):
        assert part in str(caught.value)
    assert run_foreign(path, "select * from experiment_tags") == [["exp-1", "s", "Control"]]
    tag_session(store, "exp-2", "s", TREATMENT)


def test_several_sessions_are_tagged_together_or_not_at_all(store: Store):
    tag_session(store, "exp-1", "s3", TREATMENT)
    with pytest.raises(VariantConflictError, match="session s3 is tagged Treatment"):
        tag_sessions(store, "exp-1", [f"s{number}" for number in range(10)], CONTROL)
    assert manual_tags(store, "exp-1") == {"s3": TREATMENT}

    assert tag_sessions(store, "exp-1", ["a", "b", "a", "s3"], TREATMENT) == 2
    assert tag_sessions(store, "exp-1", [], TREATMENT) == 0
    assert len(manual_tags(store, "exp-1")) == 3


def test_many_sessions_are_tagged_in_one_go(store: Store):
    names = [f"session-{number}" for number in range(10_000)]
    assert tag_sessions(store, "exp-1", names, CONTROL) == 10_000
    assert tag_sessions(store, "exp-1", names, CONTROL) == 0


def test_an_id_that_sqlite_would_cut_off_is_refused(store: Store):
    tag_session(store, "exp-1", "a", CONTROL)
    with pytest.raises(StoreError, match=r"U\+0000"):
        tag_session(store, "exp-1", "a\0b", CONTROL)
    with pytest.raises(StoreError, match="lone surrogate"):
        tag_session(store, "exp-1", "a\ud800", CONTROL)
    assert manual_tags(store, "exp-1") == {"a": CONTROL}


def test_a_removed_tag_leaves_its_reason(store: Store, path: Path):
    tag_session(store, "exp-1", "s", CONTROL)
    untag_session(store, "exp-1", "s", "wrong day")
    tag_session(store, "exp-1", "s", TREATMENT)
    assert manual_tags(store, "exp-1") == {"s": TREATMENT}
    assert run_foreign(path, TAG_LOG) == [
        ["s", "Control", "tag", None],
        ["s", "Control", "untag", "wrong day"],
        ["s", "Treatment", "tag", None],
    ]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_removal_needs_a_reason(store: Store, reason: str):
    tag_session(store, "exp-1", "s", CONTROL)
    with pytest.raises(ExperimentError, match="needs a reason"):
        untag_session(store, "exp-1", "s", reason)
    assert manual_tags(store, "exp-1") == {"s": CONTROL}


def test_only_a_tagged_session_can_be_untagged(store: Store):
    with pytest.raises(ExperimentError, match="Session s has no tag in experiment exp-1"):
        untag_session(store, "exp-1", "s", "why not")


# Frozen experiments

CHANGES: dict[str, Callable[[Store], object]] = {
    "save": lambda store: save_experiment(store, make_experiment(name="changed")),
    "run again": lambda store: set_state(store, "exp-1", State.RUNNING, 9),
    "conclude again": lambda store: set_state(store, "exp-1", State.CONCLUDED, 9),
    "tag": lambda store: tag_session(store, "exp-1", "new", CONTROL),
    "tag again": lambda store: tag_session(store, "exp-1", "s", CONTROL),
    "tag several": lambda store: tag_sessions(store, "exp-1", ["x", "y"], TREATMENT),
    "untag": lambda store: untag_session(store, "exp-1", "s", "oops"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_frozen_experiment_cannot_change(store: Store, path: Path, change: Callable[[Store], object]):
    save_experiment(store, make_experiment(state=State.CONCLUDED, concluded_at_ms=5))
    tag_session(store, "exp-1", "s", CONTROL)
    freeze(store)
    before = dump(path)

    with pytest.raises(FrozenError, match="Experiment exp-1 is concluded and its sample is frozen"):
        change(store)

    assert is_frozen(store, "exp-1")
    assert dump(path) == before


def test_a_frozen_experiment_can_be_archived_and_others_change(store: Store):
    save_experiment(store, make_experiment(state=State.CONCLUDED, concluded_at_ms=5))
    save_experiment(store, make_experiment(id="exp-2"))
    freeze(store)
    set_state(store, "exp-1", State.ARCHIVED, 9)
    assert load_experiment(store, "exp-1") == make_experiment(state=State.ARCHIVED, concluded_at_ms=5)
    assert not is_frozen(store, "exp-2")
    tag_session(store, "exp-2", "s", CONTROL)


def test_the_low_level_functions_join_a_block(store: Store, path: Path):
    def write() -> None:
        with store.write():
            save_experiment(store, make_experiment())
            tag_session(store, "exp-1", "s", CONTROL)
            set_state(store, "exp-1", State.RUNNING, 1)
            tag_session(store, "exp-1", "s", TREATMENT)

    with pytest.raises(VariantConflictError):
        write()
    assert run_foreign(path, "select count(*) from experiments") == [[0]]
    assert run_foreign(path, "select count(*) from experiment_tags") == [[0]]


def test_a_table_without_its_key_is_an_error_and_not_a_second_row(store: Store, path: Path):
    run_script(
        path,
        "drop table experiment_tags; create table experiment_tags (experiment_id TEXT, session_id TEXT, variant TEXT)",
    )
    with pytest.raises(StoreError, match="ON CONFLICT"):
        tag_session(store, "exp-1", "s", CONTROL)
