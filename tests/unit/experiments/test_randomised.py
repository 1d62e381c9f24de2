"""Experiments drawn by lot, from the spool to the verdict: intention to treat on what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import DAY_MS, make_experiment, make_frame

from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.core.model import Classification, DesignKind
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.assignment import ArmContent, count_units
from kaizen_analytics.experiments.decide import Grade, Verdict
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, Evaluation
from kaizen_analytics.experiments.plan import Plan, Randomisation, Unit, get_plan
from kaizen_analytics.experiments.sample import _SAMPLE_SCHEMA, restore_sample, sample_records
from kaizen_analytics.hook import append_record, draw
from kaizen_analytics.pages import plans, sentences
from kaizen_analytics.stats import RatioStatus, mean_effect, median_effect
from kaizen_analytics.store import Store, tag_session, untag_session
from kaizen_analytics.store.assignments import fold_spool, spool_beside

NOW_MS = 100 * DAY_MS
LATER_MS = NOW_MS + 14 * DAY_MS
CONTROL, TREATMENT = Classification.CONTROL, Classification.TREATMENT

AddSessions = Callable[[list[dict[str, object]]], None]


@pytest.fixture
def begin(store: Store, add_sessions: AddSessions, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that starts an experiment after thirty past sessions, and returns its seed."""
    monkeypatch.setattr("kaizen_analytics.experiments.assignment.secrets.token_hex", lambda size: "5b" * size)

    def start(unit: Unit = Unit.SESSION, share: float = 0.5) -> str:
        past = [
            {"id": f"past{i}", "started_at_ms": NOW_MS - (i + 1) * DAY_MS // 2, "branch": f"b{i}"} for i in range(48)
        ]
        add_sessions(past)
        arms = {CONTROL: ArmContent(), TREATMENT: ArmContent(text="Be brief.")}
        lot = Randomisation(unit=unit, control_sha256=arms[CONTROL].sha256, treatment_sha256=arms[TREATMENT].sha256)
        plan = Plan(design=DesignKind.FIXED, control_share=share, randomisation=lot, workspaces=("/w",))
        lifecycle.new_experiment(store, make_experiment(created_at_ms=NOW_MS), plan, arms)
        started = lifecycle.start(store, "exp-1", now_ms=NOW_MS)
        return started.randomisation.seed

    return start


def record(store: Store, session: str, unit: str | None, arm: str | None, reason: str | None = None) -> None:
    line = {"experiment": "exp-1", "session": session, "unit": unit, "arm": arm, "reason": reason, "at_ms": NOW_MS}
    append_record(spool_beside(store.path), line)


def run_sessions(store: Store, add: AddSessions, seed: str, n: int = 60, effect: float = 0.5, first: int = 0) -> None:
    """Start and ingest n sessions; those of the treatment use `effect` times the tokens."""
    rows = []
    for i in range(first, first + n):
        arm = draw(seed, "exp-1", f"s{i}", 0.5)
        record(store, f"s{i}", f"s{i}", arm)
        tokens = int((1000 + 7 * i) * (effect if arm == "Treatment" else 1))
        rows.append({"id": f"s{i}", "started_at_ms": NOW_MS + (i + 1) * 60_000, "tokens": tokens})
    add(rows)
    fold_spool(store)


def judge(store: Store) -> Evaluation:
    return lifecycle.evaluate(store, "exp-1", now_ms=LATER_MS)


def cautions(found: Evaluation) -> dict[CautionKind, int]:
    return {item.kind: item.count for item in found.quality.cautions}


def test_a_lot_shows_the_cause_and_its_split_is_checked(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin())
    found = judge(store)

    assert found.decision.grade is Grade.RANDOMISED
    assert found.verdict is Verdict.MET
    assert sentences.headline(found.decision, found.verdict) == "Ship"
    ratio = found.quality.sample_ratio
    assert (ratio.n_control + ratio.n_treatment, ratio.status) == (60, RatioStatus.OK)
    assert cautions(found) == {}


def test_without_an_effect_nothing_is_shipped(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin(), effect=1.0)
    found = judge(store)

    assert found.verdict not in (Verdict.MET, Verdict.IMPROVED_BELOW_TARGET, Verdict.IMPROVED_TARGET_PLAUSIBLE)


def test_units_of_one_session_each_are_compared_as_sessions(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin())
    _, _, frame = lifecycle.read_judged_sample(store, "exp-1", now_ms=LATER_MS)
    values = [frame.filter(variant=arm.value)["tokens_per_session"].to_numpy() for arm in (CONTROL, TREATMENT)]

    assert judge(store).primary.effect.percent == median_effect(*values).percent


def test_sessions_of_one_unit_are_a_cluster_and_the_split_counts_units(store: Store, add_sessions: AddSessions, begin):
    seed = begin(Unit.DAY)
    rng = np.random.default_rng(7)
    rows = []
    for day in range(14):
        arm, level = draw(seed, "exp-1", f"d{day}", 0.5), 1000 + 300 * rng.random()
        for i in range(10):
            record(store, f"s{day}-{i}", f"d{day}", arm)
            at_ms = NOW_MS + day * DAY_MS + i * 60_000
            rows.append({"id": f"s{day}-{i}", "started_at_ms": at_ms, "tokens": int(level + i)})
    add_sessions(rows)
    fold_spool(store)
    found = judge(store)
    _, _, frame = lifecycle.read_judged_sample(store, "exp-1", now_ms=LATER_MS)
    arms = [frame.filter(variant=arm.value) for arm in (CONTROL, TREATMENT)]
    values = [arm["tokens_per_session"].to_numpy() for arm in arms]
    clusters = tuple(arm["unit"].to_numpy() for arm in arms)

    assert found.primary.companion.difference == mean_effect(*values, clusters=clusters).difference
    whole, single = found.primary.companion.difference, mean_effect(*values).difference
    assert whole.high - whole.low > 1.5 * (single.high - single.low)
    ratio = found.quality.sample_ratio
    assert (ratio.n_control, ratio.n_treatment) == tuple(arm["unit"].n_unique() for arm in arms)
    assert "of 14 days" in plans.sample_ratio(ratio)


def test_sessions_without_a_draw_are_counted_with_their_reasons(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin(), n=95)
    add_sessions([{"id": f"x{i}", "started_at_ms": NOW_MS + i} for i in range(4)])
    record(store, "x0", None, None, "not_launched")
    record(store, "x1", None, None, "first_start_unseen")
    fold_spool(store)
    found = judge(store)

    assert found.excluded == {
        "not drawn: no hook ran": 2,
        "not drawn: its first start was before the experiment or without the hook": 1,
        "not drawn: started without 'run'": 1,
    }
    assert cautions(found) == {CautionKind.NOT_DRAWN: 4}
    [warning] = sentences.warnings(found)[:1]
    assert warning.replace("\N{NO-BREAK SPACE}", " ") == (
        "No lot was drawn for 4 of 99 sessions in scope (exposure 96.0 %). "
        "The reasons are among those of the excluded sessions."
    )
    many = Caution(kind=CautionKind.NOT_DRAWN, count=6)
    found = replace(found, quality=replace(found.quality, cautions=(many,)))
    assert "before reading any result" in sentences.warnings(found)[0]


def test_a_unit_that_was_drawn_and_has_no_session_yet_is_not_missing(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin())
    for i in range(20):
        record(store, f"soon{i}", f"soon{i}", "Control")
    fold_spool(store)

    assert cautions(judge(store)) == {}
    assert judge(store).quality.sample_ratio.n_control + judge(store).quality.sample_ratio.n_treatment == 60


@pytest.mark.parametrize("tag", [CONTROL, TREATMENT])
def test_the_lot_counts_whatever_people_tag_later(store: Store, add_sessions: AddSessions, begin, tag: Classification):
    run_sessions(store, add_sessions, begin())
    before = judge(store).primary
    drawn = [f"s{i}" for i in range(60)]
    other = next(
        s
        for s in drawn
        if store.native("select 1 from experiment_tags where session_id = ? and variant <> ?", s, tag.value)
    )
    untag_session(store, "exp-1", other, "I think it was the other arm")
    assert judge(store).primary == before
    tag_session(store, "exp-1", other, tag)
    add_sessions([{"id": "by hand", "started_at_ms": NOW_MS + 5}])
    tag_session(store, "exp-1", "by hand", tag)
    found = judge(store)

    assert found.primary == before
    assert cautions(found) == {CautionKind.CONFLICTING_DRAWS: 2, CautionKind.NOT_DRAWN: 1}
    assert "the lot counts" in "\n".join(sentences.warnings(found))


def test_a_session_that_is_tagged_excluded_is_taken_out(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin())
    untag_session(store, "exp-1", "s0", "a test of mine")
    tag_session(store, "exp-1", "s0", Classification.EXCLUDED)

    assert judge(store).excluded == {"tagged Excluded": 1}


def test_a_lot_that_loses_one_arm_s_sessions_is_invalid(store: Store, add_sessions: AddSessions, begin):
    seed = begin()
    rows = []
    for i in range(200):
        arm = draw(seed, "exp-1", f"s{i}", 0.5)
        record(store, f"s{i}", f"s{i}", arm)
        if arm == "Control" or i % 3 == 0:
            rows.append({"id": f"s{i}", "started_at_ms": NOW_MS + i})
    add_sessions(rows)
    fold_spool(store)

    assert judge(store).verdict is Verdict.INVALID


def test_a_concluded_lot_is_read_back_as_it_was_judged(store: Store, add_sessions: AddSessions, begin):
    run_sessions(store, add_sessions, begin())
    _, _, live = lifecycle.read_judged_sample(store, "exp-1", now_ms=LATER_MS)
    concluded = lifecycle.conclude(store, "exp-1", now_ms=LATER_MS)
    run_sessions(store, add_sessions, "00" * 16, first=60)

    assert judge(store) == concluded
    assert lifecycle.read_judged_sample(store, "exp-1", now_ms=LATER_MS)[2].equals(live)
    assert live["unit"].null_count() == 0


def test_a_sample_without_a_lot_is_frozen_as_before():
    frame = make_frame([1.0], [2.0]).select(*_SAMPLE_SCHEMA)

    assert all('"unit"' not in text for text in sample_records(frame)["sample"])
    assert restore_sample([{"session_id": "s", "started_at_ms": 1, "variant": "Control"}])["unit"].to_list() == [None]


def test_units_of_the_last_thirty_days_are_counted_in_scope(store: Store, add_sessions: AddSessions):
    rows = [
        {"id": f"s{i}", "started_at_ms": NOW_MS - i * DAY_MS // 2, "branch": f"b{i % 3}", "workspace": f"/w{i % 2}"}
        for i in range(100)
    ]
    add_sessions([*rows, {"id": "none", "started_at_ms": NOW_MS - 1, "branch": None, "workspace": "/w0"}])
    plan = Plan(workspaces=("/w0",))

    def count(unit: Unit, scope: Plan = plan) -> tuple[int, int, int]:
        found = count_units(store, scope, unit, NOW_MS)
        return found.n_units, found.n_sessions, found.largest

    assert count(Unit.SESSION) == (32, 32, 1)
    assert count(Unit.DAY) == (31, 32, 2)
    assert count(Unit.BRANCH, Plan()) == (3, 61, 21)
    assert count(Unit.USER, Plan()) == (0, 0, 0)


def test_a_lot_cannot_begin_in_the_past(store: Store, begin):
    begin()
    plan = replace(get_plan(store, "exp-1"), started=None, rule=None)
    lifecycle.new_experiment(store, make_experiment(id="late"), plan)
    with pytest.raises(ExperimentError, match="cannot begin in the past"):
        lifecycle.start(store, "late", now_ms=NOW_MS, at_ms=NOW_MS - DAY_MS)


def test_a_lot_without_the_share_of_control_is_refused(store: Store):
    lot = Randomisation(unit=Unit.SESSION, control_sha256="", treatment_sha256="")
    with pytest.raises(ConfigError, match="need the share of control"):
        lifecycle.new_experiment(store, make_experiment(), Plan(randomisation=lot))
