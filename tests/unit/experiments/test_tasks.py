"""Units of work: metrics per task or day, sessions per task, and the guardrails that every experiment gets."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from experiment_cases import make_experiment
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import (
    Delta,
    DesignKind,
    Direction,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    WorkUnit,
)
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.assess import compare_metric, trim_to_plan
from kaizen_analytics.experiments.compare import add_up, check_tasks, guardrail_unit
from kaizen_analytics.experiments.decide import improves
from kaizen_analytics.experiments.draft import default_guardrails
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA
from kaizen_analytics.stats import Design

DRAFT = make_experiment(id="e", success_criterion=Delta(Direction.DECREASE, -10))
TOTALS = list(np.random.default_rng(1).lognormal(9, 0.5, 30))


def branches(arm: str, sessions: list[int], totals: list[float]) -> list[dict[str, object]]:
    shared = {"variant": arm, "workspace": "/w", "success_rate": 1.0, "pull_request": None}
    return [
        {**shared, "branch": f"{arm}-{i}", "session_id": f"{arm}-{i}-{k}", "tokens_per_session": total / n}
        for i, (n, total) in enumerate(zip(sessions, totals, strict=True))
        for k in range(n)
    ]


def frame(control: tuple[list[int], list[float]], treatment: tuple[list[int], list[float]]) -> pl.DataFrame:
    return pl.DataFrame([*branches("Control", *control), *branches("Treatment", *treatment)])


def test_a_task_split_in_two_is_seen_and_its_total_is_unchanged():
    found = check_tasks(frame(([1] * 30, TOTALS), ([2] * 30, TOTALS)), Metric.TOKENS_PER_SESSION, 0.05)
    assert (found.control_sessions, found.treatment_sessions, found.factor) == (1, 2, 2)
    assert found.total.percent.estimate == pytest.approx(0)
    assert not improves(found.total, Direction.DECREASE)


def test_a_task_that_is_split_and_cheaper_is_shown_to_be_so():
    cheaper = [0.4 * total for total in TOTALS]
    found = check_tasks(frame(([1, 2, 3] * 10, TOTALS), ([2, 4, 6] * 10, cheaper)), Metric.TOKENS_PER_SESSION, 0.05)
    assert found.factor == 2
    assert improves(found.total, Direction.DECREASE)


def test_about_as_many_sessions_are_no_finding():
    same = frame(([1, 2, 3] * 10, TOTALS), ([1, 2, 4] * 10, TOTALS))
    found = check_tasks(same, Metric.TOKENS_PER_SESSION, 0.05)
    assert (found.control_sessions, found.treatment_sessions, found.total) == (2, pytest.approx(70 / 30), None)


def test_few_tasks_shares_and_sessions_on_the_default_branch_have_no_total():
    few = frame(([1] * 4, TOTALS[:4]), ([2] * 30, TOTALS))
    assert check_tasks(few, Metric.TOKENS_PER_SESSION, 0.05).total is None
    split = frame(([1] * 30, TOTALS), ([2] * 30, TOTALS))
    assert check_tasks(split, Metric.SUCCESS_RATE, 0.05).total is None
    alone = check_tasks(split.with_columns(branch=pl.lit("main")), Metric.TOKENS_PER_SESSION, 0.05)
    assert (alone.control_sessions, alone.treatment_sessions, alone.total) == (1, 1, None)
    assert check_tasks(split.filter(variant="Control"), Metric.TOKENS_PER_SESSION, 0.05) is None


def sample(rows: list[dict[str, object]]) -> pl.DataFrame:
    shared = {"workspace": "/w", "branch": "topic", "flags": "", "responses": 1, "last_event_ms": 0}
    return pl.DataFrame([{**dict.fromkeys(_SAMPLE_SCHEMA), **shared, **row} for row in rows], schema=_SAMPLE_SCHEMA)


def test_a_task_is_a_pull_request_or_else_a_branch_or_else_a_session():
    rows = sample([
        {"session_id": "a", "variant": "Control", "started_at_ms": 1, "tokens_per_session": 1.0},
        {"session_id": "b", "variant": "Control", "started_at_ms": 2, "tokens_per_session": 2.0},
        {"session_id": "c", "variant": "Control", "started_at_ms": 3, "tokens_per_session": 4.0, "pull_request": "u/1"},
        {"session_id": "d", "variant": "Control", "started_at_ms": 4, "tokens_per_session": None, "branch": "main"},
    ])  # fmt: skip
    found = add_up(rows, WorkUnit.TASK).select("session_id", "tokens_per_session", "responses", "started_at_ms")
    assert found.rows() == [("/w topic", 3.0, 2, 1), ("u/1", 4.0, 1, 3), ("d", None, 1, 4)]
    assert add_up(rows, WorkUnit.SESSION) is rows


def test_shares_rates_and_scores_of_a_task_are_no_sums():
    session = {"variant": "Control", "success_rate": 1.0}
    rows = sample([
        {**session, "session_id": "a", "started_at_ms": 1, "checks_passed": 1.0, "landed": 0.0, "session_score": 2.0,
         "commits_per_session": 0.0, "cost_per_session": 3.0},
        {**session, "session_id": "b", "started_at_ms": 2, "checks_passed": 0.0, "landed": 1.0, "session_score": 5.0,
         "commits_per_session": 2.0, "cost_per_session": 1.0, "cost_per_commit": 0.5, "success_rate": 0.0},
    ])  # fmt: skip
    [task] = add_up(rows, WorkUnit.TASK).to_dicts()
    assert [task[name] for name in ("success_rate", "checks_passed", "landed", "session_score")] == [0, 0, 1, 3.5]
    assert (task["cost_per_commit"], task["commits_per_session"]) == (2.0, 2.0), "the session without a commit costs"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.floats(0, 100)), min_size=1, max_size=30))
def test_days_keep_the_totals(rows: list[tuple[str, int, float]]):
    arms = {"a": "Control", "b": "Treatment"}
    frame = sample([
        {"session_id": str(i), "variant": arms[arm], "started_at_ms": day * DAY_MS + i, "tokens_per_session": tokens}
        for i, (arm, day, tokens) in enumerate(rows)
    ])  # fmt: skip
    days = add_up(frame, WorkUnit.DAY)
    assert days.height == len({(arm, day) for arm, day, _ in rows})
    for arm in arms.values():
        before, after = (part.filter(variant=arm)["tokens_per_session"].sum() for part in (frame, days))
        assert before == pytest.approx(after)
    assert set(days["unit"]) == set(days["session_id"]), "a day in both arms is one cluster"


def test_splitting_tasks_is_no_saving_per_task():
    both = frame(([1] * 30, TOTALS), ([2] * 30, TOTALS)).with_columns(
        started_at_ms=pl.int_range(pl.len(), dtype=pl.Int64), last_event_ms=0, unit=pl.lit(None, dtype=pl.String)
    )
    missing = [pl.lit(None, kind).alias(name) for name, kind in _SAMPLE_SCHEMA.items() if name not in both.columns]
    judged = {
        unit: compare_metric(
            both.with_columns(missing).with_columns(flags=pl.lit("")).cast(_SAMPLE_SCHEMA),
            Metric.TOKENS_PER_SESSION,
            Plan(unit=unit, design=DesignKind.FIXED),
            as_of_ms=0,
        )
        for unit in (WorkUnit.SESSION, WorkUnit.TASK)
    }
    assert judged[WorkUnit.SESSION].effect.percent.estimate == pytest.approx(-50)
    assert judged[WorkUnit.TASK].effect.percent.estimate == pytest.approx(0)
    assert (judged[WorkUnit.TASK].effect.treatment.n, judged[WorkUnit.TASK].label) == (30, "Tokens per task")


def test_a_task_with_a_running_session_waits_and_so_does_today():
    hour = 3_600_000
    rows = sample([
        {"session_id": "a", "variant": "Control", "started_at_ms": 0, "last_event_ms": 0},
        {"session_id": "b", "variant": "Control", "started_at_ms": 30 * hour, "last_event_ms": 30 * hour},
        {"session_id": "c", "variant": "Control", "started_at_ms": 1, "last_event_ms": 1, "branch": "other"},
    ])  # fmt: skip
    now = 30 * hour + 1
    kept = {
        unit: trim_to_plan(rows, Design(), now, unit).filter(pl.col("variant") == "Control")["session_id"].to_list()
        for unit in WorkUnit
    }
    assert kept == {WorkUnit.SESSION: ["a", "c"], WorkUnit.TASK: ["c"], WorkUnit.DAY: ["a", "c"]}


def test_a_plan_counts_tasks_and_takes_them_whole():
    rows = [
        {"session_id": f"{arm}{i}{k}", "variant": arm, "started_at_ms": 10 * i + k, "branch": f"{arm}{i}"}
        for arm in ("Control", "Treatment")
        for i in range(3)
        for k in range(2)
    ]
    design = Design(kind=DesignKind.PLANNED, planned_n=2)
    used = trim_to_plan(sample(rows), design, 10**12, WorkUnit.TASK).filter(pl.col("variant") != "Excluded")
    assert used.group_by("branch").len()["len"].to_list() == [2] * used["branch"].n_unique()
    assert used["branch"].n_unique() == 4


def test_every_metric_can_be_added_up():
    rows = sample([{"session_id": "a", "variant": "Control", "started_at_ms": 1, **{m.column: 1.0 for m in Metric}}])
    [task] = add_up(rows, WorkUnit.TASK).to_dicts()
    sums = [m for m in Metric if REGISTRY[m].kind is not MetricKind.RATE]
    assert {task[metric.column] for metric in sums} == {1.0}


def past(**columns: float | None) -> pl.DataFrame:
    known = {metric.column: None for metric in Metric} | columns
    return pl.DataFrame(
        [{"started_at_ms": i, **known} for i in range(12)], schema_overrides=dict.fromkeys(known, float)
    )


def test_a_new_experiment_guards_checks_and_work_where_there_are_data():
    def names(sessions: pl.DataFrame, **changes: object) -> list[str]:
        found = default_guardrails(sessions, replace(DRAFT, **changes), now_ms=100)
        return [f"{spec.metric.column}:{spec.regression_direction.lower()}:{spec.threshold_pct:g}" for spec in found]

    assert names(past()) == []
    everything = past(checks_passed=1.0, commits_per_session=2.0, prompts_per_session=3.0)
    assert names(everything) == ["checks_passed:decrease:5", "commits_per_session:decrease:20"]
    assert names(past(commits_per_session=0.0, prompts_per_session=3.0)) == ["prompts_per_session:decrease:20"]
    assert names(everything, metric=Metric.CHECKS_PASSED) == ["commits_per_session:decrease:20"]
    own = GuardrailSpec(Metric.PROMPTS_PER_SESSION, Direction.INCREASE, 3)
    assert names(everything, guardrails=(own,)) == ["checks_passed:decrease:5"]
    assert names(everything.head(9)) == []


def test_work_is_counted_per_day_where_arms_are_separated_in_time():
    spec = GuardrailSpec(Metric.COMMITS_PER_SESSION, Direction.DECREASE, 20)
    dated = replace(DRAFT, binding=GitCommit("a", "b"))
    assert guardrail_unit(spec, dated, Plan()) is WorkUnit.DAY
    assert guardrail_unit(spec, replace(DRAFT, binding=ManualTag("")), Plan()) is WorkUnit.SESSION
    other = GuardrailSpec(Metric.TOOL_LOOPS, Direction.INCREASE, 20)
    assert guardrail_unit(other, dated, Plan(unit=WorkUnit.TASK)) is WorkUnit.TASK
