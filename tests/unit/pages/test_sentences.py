"""What results say in words, from numbers alone."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kaizen_analytics.core.model import (
    Absolute,
    Delta,
    DesignKind,
    Direction,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    State,
)
from kaizen_analytics.experiments.decide import Claim, Decision, Grade, GuardrailStatus, Headline, Verdict, decide
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, NextStep, choose_next_step
from kaizen_analytics.experiments.plan import Cluster, Plan, Start, Statistic
from kaizen_analytics.experiments.power import PowerTable
from kaizen_analytics.pages import conclusion, effect_text, plans, sentences, summary
from kaizen_analytics.pages.documents import evaluation_document
from kaizen_analytics.stats import (
    ArmSummary,
    Design,
    Effect,
    EffectKind,
    Interval,
    check_sample_ratio,
    mean_effect,
    median_effect,
    proportion_effect,
)
from kaizen_analytics.stats.effect import Split

DOWN, UP = Direction.DECREASE, Direction.INCREASE
ARM = ArmSummary(n=50, n_effective=50.0, clusters=None, median=10.0, mean=0.5)
VALUES = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
HALVED = [value / 2 for value in VALUES]


def effect_of(percent: Interval | None, **changes) -> Effect:
    fields = {
        "kind": EffectKind.MEDIAN,
        "control": ARM,
        "treatment": ARM,
        "difference": Interval(estimate=1.0, low=-1.0, high=3.0),
        "percent": percent,
        "p_value": 0.4,
        "alpha": 0.05,
    }
    return Effect(**(fields | changes))


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


# Effects.


@pytest.mark.parametrize(
    ("low", "high", "ending"),
    [
        (-20, -5, "lies between -20.0 % and -5.0 %. Chance alone is an unlikely explanation."),
        (
            -20,
            5,
            "lies between -20.0 % and +5.0 %. Both a rise and a fall are still possible, so do not act on it yet.",
        ),
        (-math.inf, 5, "is at most +5.0 %. Do not act on it."),
        (-5, math.inf, "is at least -5.0 %. Do not act on it."),
        (
            -math.inf,
            math.inf,
            "The data set no limit to the true change yet. Do not act on it.",
        ),
    ],
)
def test_an_effect_ends_with_what_to_do(low, high, ending):
    assert plain(effect_text.effect(effect_of(Interval(estimate=-1.0, low=low, high=high)))).endswith(ending)


def test_no_change_at_all_is_said_plainly():
    assert plain(effect_text.effect(effect_of(Interval(estimate=0.0, low=0.0, high=0.0)))) == (
        "The typical session (median) stayed at 10. With 95 % confidence, the true change is 0.0 %. Nothing changed."
    )


def test_interim_analyses_are_named():
    planned = Design(kind=DesignKind.PLANNED, planned_n=60)
    found = effect_of(Interval(estimate=-9.0, low=-12.0, high=-5.0), design=planned, alpha=0.01, nominal_alpha=0.05)
    assert "With 95 % confidence at every interim analysis, the true change" in plain(effect_text.effect(found))


@pytest.mark.parametrize(
    ("compare", "beginning"),
    [
        (median_effect, "The typical session (median) went from 14.5 to 18.5, which is 27.6 % higher."),
        (mean_effect, "The average session (mean) went from 14.5 to 18.5, which is 27.6 % higher."),
        (
            lambda c, t: proportion_effect(c > 12, t > 12),
            "The share went from 60.0 % to 77.3 %, which is 28.8 % higher.",
        ),
    ],
)
def test_every_kind_names_what_it_compares(compare, beginning):
    assert plain(effect_text.effect(compare(np.arange(5.0, 25), np.arange(8.0, 30)))).startswith(beginning)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (median_effect([], [1, 2]), "There is no control session"),
        (
            median_effect([1, 2], [1, 2, 3, 4, 5]),
            "The control arm has only 2 sessions with a value; an interval needs at least 5",
        ),
        (median_effect([7.0] * 20, np.arange(20)), "All 20 control sessions have the same value (7)"),
        (median_effect(range(9), range(9), clusters=([1] * 9, range(9))), "come from only 1 cluster (workspaces or"),
        (median_effect(range(9), range(9), design=Design(kind=DesignKind.OPEN)), "The smaller arm has 9 sessions"),
        (effect_of(None, difference=None), "The arms cannot be compared."),
    ],
)
def test_a_missing_interval_has_its_reason(found, words):
    assert words in effect_text.effect(found)
    assert words in effect_text.no_percent(found)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (median_effect([-4, -3, -2, -1, 0, 1, 2, 3], [3, 4, 5, 6, 7, 8, 9, 3]), "value is zero or negative"),
        (mean_effect([-10, 11, -9, 10, -8, 9], [5, 6, 7, 8, 9, 10]), "not clearly above zero"),
        (proportion_effect(np.zeros(20), np.ones(20)), "No control session succeeded"),
    ],
)
def test_a_missing_percent_change_has_its_reason(found, words):
    assert words in effect_text.no_percent(found)
    assert effect_text.effect(found).endswith("A percent change cannot be given.")


def test_notes_say_what_a_careful_reader_should_know():
    tied = median_effect([1] * 50 + [2] * 50, [2] * 90 + [3] * 10)
    assert effect_text.notes(tied) == [
        (
            "90 of 100 treatment sessions have exactly the value 2. The interval moves in steps, and is wider than "
            "without ties."
        )
    ]
    assert "At least half of the control sessions have the value 0." in effect_text.notes(
        median_effect([0] * 9 + [1], [0, 1, 2, 3, 4, 5])
    )
    skewed = mean_effect([1, 2, 3, 2, 1, 2, 3, 1000], [1, 2, 3, 2, 1, 2, 3, 2])
    assert "One control session makes up 99 % of the total." in plain(effect_text.notes(skewed)[0])
    assert not effect_text.notes(median_effect(VALUES, HALVED))


def test_notes_on_clusters_and_designs():
    clusters = ([1, 1, 2, 2, 3, 3, 4, 4], [5, 5, 6, 6, 7, 7, 8, 8])
    assert (
        "from 4 and 4 clusters count as about" in effect_text.notes(median_effect(VALUES, HALVED, clusters=clusters))[0]
    )
    design = Design(kind=DesignKind.PLANNED, planned_n=30)
    over = median_effect(np.arange(1.0, 41), np.arange(1.0, 41), design=design)
    assert "The arms hold 133 % of the planned information." in plain(effect_text.notes(over)[0])
    early = median_effect(np.arange(1.0, 41), np.arange(1.0, 41), design=replace(design, planned_n=5_000))
    assert "too few independent sessions" in effect_text.notes(early)[0]


def test_a_split_names_its_groups_and_what_is_left_out():
    split = Split(
        metric=Metric.COST_PER_SESSION, by="model", control="a", treatment="b", control_missing=1, treatment_missing=0
    )
    first, last = effect_text.notes(replace(median_effect(VALUES, HALVED), split=split))
    assert first == "Cost per session by model: control is a, treatment is b."
    assert last == "Without a value, and left out: 1 control and 0 treatment sessions."


# The verdict, the guardrails and the decision.


def test_every_verdict_has_a_sentence_of_its_own(evaluate):
    base = evaluate(VALUES, HALVED)
    judged = set(Verdict) - {Verdict.INVALID, Verdict.INSUFFICIENT_DATA, Verdict.PERCENT_UNDEFINED, Verdict.DEGENERATE}
    said = {verdict: plain(sentences.judgement(replace(base, verdict=verdict))) for verdict in judged}
    assert len(set(said.values())) == len(judged)
    assert said[Verdict.MET].endswith("The target of a fall of at least 20 % is reached.")
    assert said[Verdict.INCONCLUSIVE].startswith("The data show a fall of 50.0 % (95 % interval -6")
    assert "compatible with no improvement and with a fall of at least 20 %" in said[Verdict.INCONCLUSIVE]
    assert "A fall of at least 20 % is ruled out" in said[Verdict.TARGET_EXCLUDED]


def test_a_verdict_without_a_percent_change_says_why(evaluate):
    zero = evaluate([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    assert sentences.judgement(zero).startswith("The target cannot be judged: the control's value is zero")
    assert sentences.judgement(evaluate([1.0], [2.0])).startswith("The control arm has only 1 session")


def test_ties_at_the_median_decide_nothing_and_say_so(evaluate):
    tied = evaluate([0.0] * 7 + [1.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    said = "7 of 8 control sessions and 1 of 5 treatment sessions have exactly the median"
    assert sentences.judgement(tied).startswith(said)
    assert sentences.decision(tied.decision, tied.verdict).startswith("Do not decide yet: the interval of the success")
    assert "--statistic mean" in sentences.next_actions(tied)[0]


def test_a_companion_that_moved_the_other_way_leaves_the_decision_open():
    made = decide(Verdict.MET, [], Grade.RANDOMISED, opposed=True)
    assert sentences.decision(made, Verdict.MET) == (
        "Do not ship yet: the typical and the average session moved in opposite directions, both beyond chance."
    )


def test_a_target_of_zero_asks_for_any_change(evaluate):
    judged = evaluate(VALUES, HALVED, success_criterion=Delta(DOWN, 0.0))
    assert sentences.judgement(judged).endswith("The target of any fall is reached.")


def test_absolute_targets_name_the_treatment_alone(evaluate):
    met = sentences.judgement(evaluate(VALUES, HALVED, success_criterion=Absolute(90.0)))
    assert met.startswith("The treatment arm alone is at 67.5 (95\N{NO-BREAK SPACE}% interval 55 to 80)")
    assert met.endswith("The target of at most 90 is reached.")
    missed = evaluate(VALUES, HALVED, success_criterion=Absolute(5.0))
    assert "is missed: drop the target" in sentences.judgement(missed)
    shares = evaluate([0.0] * 9, [1.0] * 9, metric=Metric.SUCCESS_RATE, success_criterion=Absolute(0.8), guardrails=())
    assert "at least 80.0 %" in plain(sentences.judgement(shares))


def test_a_lost_arm_is_named_with_its_numbers(evaluate):
    plan = Plan(design=DesignKind.FIXED, control_share=0.5)
    invalid = evaluate(VALUES * 10, HALVED, plan=plan)
    assert plain(sentences.judgement(invalid)).startswith("The treatment holds 8 of 88 sessions (9.1 %); 50.0 % were")
    assert sentences.decision(invalid.decision, invalid.verdict).startswith("Do not decide on these data: the sessions")


@pytest.mark.parametrize(
    ("status", "low", "high", "words"),
    [
        (
            GuardrailStatus.VIOLATED,
            2,
            30,
            "Duration shows a rise beyond chance (at worst 30.0 %). Only 5 % is tolerated",
        ),
        (GuardrailStatus.PASSED, -8, 4, "Duration is safe: a rise of more than 5 % is ruled out (at worst 4.0 %)."),
        (GuardrailStatus.PASSED, -8, -2, "(at worst 0.0 %)."),
        (GuardrailStatus.UNRESOLVED, -8, 20, "Duration is open: a rise of more than 5 % cannot be ruled out (at"),
        (GuardrailStatus.UNRESOLVED, -math.inf, math.inf, "cannot be ruled out."),
    ],
)
def test_a_guardrail_says_how_bad_it_can_be(evaluate, status, low, high, words):
    spec = GuardrailSpec(Metric.DURATION_MINUTES, UP, 5.0)
    [found] = evaluate(VALUES, HALVED, guardrails=(spec,), columns={"duration_minutes": 1.0}).guardrails
    effect = effect_of(Interval(estimate=0.0, low=low, high=high))
    judged = replace(found, status=status, p_adjusted=0.5, result=replace(found.result, effect=effect))
    assert words in plain(sentences.guardrail(judged))


def test_a_guardrail_without_data_or_percent_is_open(evaluate):
    spec = GuardrailSpec(Metric.DURATION_MINUTES, DOWN, 5.0)
    [found] = evaluate(VALUES, HALVED, guardrails=(spec,)).guardrails
    assert sentences.guardrail(found) == (
        "Duration is open: there is no control session with a value, so nothing can be compared."
    )
    no_percent = replace(found, p_adjusted=0.5, result=replace(found.result, effect=effect_of(None)))
    assert "without a percent change, a fall of more than 5 % cannot be judged" in plain(
        sentences.guardrail(no_percent)
    )


def test_a_decision_names_the_guardrails_by_their_labels():
    violated = Decision(
        headline=Headline.DO_NOT_SHIP, violated=(Metric.DURATION_MINUTES, Metric.TOOL_ERROR_RATE), n_guardrails=2
    )
    assert sentences.decision(violated, Verdict.MET) == (
        "Do not ship: duration and tool error rate got worse beyond chance."
    )
    waiting = decide(Verdict.MET, [(Metric.COST_PER_SESSION, GuardrailStatus.UNRESOLVED)], Grade.RANDOMISED)
    assert sentences.decision(waiting, Verdict.MET) == (
        "Do not ship yet: the success metric improved, but cost per session may have got worse."
    )
    safe = decide(Verdict.IMPROVED_BELOW_TARGET, [(Metric.COST_PER_SESSION, GuardrailStatus.PASSED)], Grade.RANDOMISED)
    assert sentences.decision(safe, Verdict.IMPROVED_BELOW_TARGET) == (
        "Ship: the success metric improved, though by less than its target and every guardrail is within its tolerance."
    )
    made = [(decide(verdict, [], grade), verdict) for verdict in Verdict for grade in (*Grade, None)]
    assert all(sentences.decision(*pair).endswith(".") for pair in made)
    assert all("hip" not in sentences.headline(*pair) for pair in made if pair[0].grade is Grade.BEFORE_AFTER)


# Trust and what to do next.


def test_warnings_come_from_numbers(evaluate):
    base = evaluate([*VALUES, None, None], HALVED, success_criterion=Delta(DOWN, 20.0), binding=GitCommit("a", "b"))
    treatment = replace(base.quality.treatment, unreliable_share=0.4, dirty_sessions=8)
    cautions = (Caution(kind=CautionKind.WAITING_TAGS, count=1), Caution(kind=CautionKind.DELEGATED_TAGS, count=2))
    judged = replace(base, quality=replace(base.quality, treatment=treatment, cautions=cautions))
    assert [plain(text) for text in sentences.warnings(judged)] == [
        "Not counted: 1 tagged session that the store does not hold (yet).",
        "Without effect: 2 tags of sub-agents, which count with the session that started them. Tag that session.",
        (
            "The criterion says decrease but its target is +20.0 %. The direction decides, so it is read as a fall of "
            "at least 20 %."
        ),
        (
            "Imbalance: responses with an unreliable output count make up 0.0 % of the control arm and 40.0 % of the "
            "treatment arm. Part of the difference may come from that."
        ),
        (
            "Imbalance: sessions without a value of the metric make up 20.0 % of the control arm and 0.0 % of the "
            "treatment arm. Part of the difference may come from that."
        ),
        "8 sessions started with uncommitted changes, which their commit does not show.",
    ]
    assert sentences.warnings(evaluate(VALUES, HALVED)) == []


@pytest.mark.parametrize("kind", CautionKind)
def test_every_caution_has_a_sentence(evaluate, kind):
    base = evaluate(VALUES, HALVED, plan=Plan(design=DesignKind.FIXED, cluster=Cluster.USER))
    judged = replace(base, quality=replace(base.quality, cautions=(Caution(kind=kind, count=3),)))
    assert sentences.warnings(judged)[0].endswith(".")


@pytest.mark.parametrize(
    ("n_control", "n_treatment", "words"),
    [
        (100, 104, "The split is as declared, within chance."),
        (100, 145, "That is unusual (p = 0.0"),
        (100, 160, "Chance does not explain that (p = 0.0"),
        (0, 0, "No session has been assigned yet."),
    ],
)
def test_the_split_in_words(n_control, n_treatment, words):
    assert words in plans.sample_ratio(check_sample_ratio(n_control, n_treatment))


def test_the_design_is_said_with_what_would_explain_a_difference_away(evaluate):
    concurrent, later = (
        evaluate(VALUES, HALVED, guardrails=(), binding=b) for b in (ManualTag(""), GitCommit("a", "b"))
    )
    assert (
        sentences.headline(concurrent.decision, concurrent.verdict) == "Lower with the change; the cause is not shown"
    )
    assert later.decision.claim is Claim.TOO_FEW
    claimed = replace(later.decision, claim=Claim.HOLDS, headline=Headline.BETTER)
    assert sentences.headline(claimed, Verdict.MET) == "Lower after the change; the cause is not shown"
    assert "people chose the arm" in plans.grade(concurrent.decision)
    assert "such as a new model" in plans.grade(later.decision)
    assert plans.grade_name(later.decision.grade, exploratory=True) == "before/after, exploratory"
    assert plans.grade(replace(later.decision, grade=None)).startswith("not recorded")


def test_the_next_step_depends_on_the_decision_and_the_time(evaluate):
    randomised = evaluate(VALUES, HALVED, guardrails=(), assigned=True)
    assert sentences.next_actions(randomised) == ["Ship the change."]
    chosen = evaluate(VALUES, HALVED, name="It's \x1b[1mshort", guardrails=())
    assert sentences.next_actions(chosen) == [
        "Keep the change; do not quote the difference as its effect.",
        (
            "To show the cause, draw the arms by lot; add what they get, such as --treatment-file: kaizen-analytics "
            "exp new --name 'It'\"'\"'s short, by lot' --metric tokens_per_session --target-pct -20 --assign "
            "session --split 50"
        ),
    ]
    running = {"state": State.RUNNING, "guardrails": ()}
    early = evaluate(VALUES, VALUES, as_of_ms=1, **running)
    assert sentences.next_actions(early)[0] == "Collect more sessions until 1970-01-02T00:00:00Z, then evaluate again."
    assert sentences.flags(early)[0].startswith("Interim analysis: the fixed design")
    late = evaluate(VALUES, HALVED, **running)
    assert sentences.next_actions(late)[1] == "Freeze the result: kaizen-analytics exp conclude e-1"
    alone = sentences.next_actions(evaluate(VALUES, [], **running))[0]
    assert alone.startswith("The treatment arm has no session, out of 8 in the window")
    assert sentences.next_actions(evaluate([], [], **running))[0].startswith("The control and the treatment arm have")


def test_criteria_in_words(evaluate):
    rising = evaluate(VALUES, HALVED, success_criterion=Delta(UP, 5.0)).experiment
    value = replace(rising, success_criterion=Absolute(metric_value=900.0))
    assert plain(plans.criterion(rising)) == "success: tokens per session rises by at least 5 %"
    assert plans.criterion(value) == "success: tokens per session of the treatment is at most 900 tokens"


def test_power_in_words():
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=5 * 86_400_000)
    table = PowerTable(
        metric=Metric.TOKENS_PER_SESSION,
        window=start.window,
        sessions=121,
        per_day=24.2,
        target_pct=-20.0,
        alpha=0.05,
        power=0.8,
        design=DesignKind.PLANNED,
        statistic=Statistic.MEDIAN,
        guardrails=2,
        simulations=300,
        detectable_pct=-12.34,
        rows=(),
    )
    assert plain(sentences.power(table)) == (
        "With as many sessions as the last 5 days (60 per arm), an experiment decides rightly about a change of about "
        "-12.3 % or more in 80 of 100 cases."
    )
    assert "300 experiments for each change (standard error: at most 2.9 points)" in sentences.power_scope(table)
    assert "the success metric, its companion and 2 guardrails." in sentences.power_scope(table)
    blind = sentences.power(replace(table, detectable_pct=None))
    assert "decides rightly about no change of the table" in blind
    assert "More workspaces or users would" in blind
    assert "deciding on a change of -20 %" in plain(summary.render_text(table))


@pytest.mark.slow
@given(
    verdict=st.sampled_from(Verdict),
    headline=st.sampled_from(Headline),
    claim=st.none() | st.sampled_from(Claim),
    state=st.sampled_from([State.RUNNING, State.CONCLUDED]),
    as_of_ms=st.sampled_from([1, 86_400_000]),
    status=st.sampled_from(GuardrailStatus),
    treatment=st.sampled_from([[], HALVED[:2], HALVED]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_page_asks_for_sessions_that_cannot_come(
    evaluate, verdict, headline, claim, state, as_of_ms, status, treatment
):
    found = _judged(evaluate, tuple(treatment))
    grade = Grade.CONCURRENT if claim is None else Grade.BEFORE_AFTER
    made = replace(found.decision, headline=headline, claim=claim, grade=grade, unresolved=(Metric.DURATION_MINUTES,))
    [guardrail] = found.guardrails
    found = replace(
        found,
        verdict=verdict,
        decision=made,
        as_of_ms=as_of_ms,
        experiment=replace(found.experiment, state=state),
        guardrails=(replace(guardrail, status=status),),
    )
    assume((verdict is Verdict.PERCENT_UNDEFINED) == (found.primary.effect.percent is None))
    page = " ".join([conclusion.decision(found).plain, json.dumps(evaluation_document(found))])
    asks = any(words in page.lower() for words in ("more sessions", "keep collecting", "wait for"))
    step = choose_next_step(found)
    assert asks == (step is NextStep.COLLECT)
    assert not (asks and ("is over" in page or state is State.CONCLUDED or as_of_ms == 86_400_000))


def _judged(evaluate, treatment, known={}):  # noqa: B006 - one evaluation for each arm, for all examples
    if treatment not in known:
        known[treatment] = evaluate(
            VALUES, list(treatment), guardrails=(GuardrailSpec(Metric.DURATION_MINUTES, UP, 5.0),)
        )
    return known[treatment]
