"""The experiment that would prove a bet."""

import pytest
from retro_stores import MONDAY_MS, WEEK, add_session, answer, edits, make_bet

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.model import Direction, Metric, PromptFingerprint
from kaizen_analytics.retro.proposal import find_bet, prepare_proposal, propose_experiment
from kaizen_analytics.retro.retro import compute_retro, save_retro
from kaizen_analytics.store import Store


@pytest.fixture
def bet_id(store: Store) -> str:
    add_session(store, "s", MONDAY_MS, [answer(), *edits("/w/shop/src/a.py", 8)])
    retro = compute_retro(store, WEEK, now_ms=WEEK.end_ms)
    save_retro(store, retro)
    return retro.bets[0].id


def test_a_stored_bet_becomes_a_proposal_that_names_it(store: Store, bet_id: str) -> None:
    proposal = propose_experiment(store, bet_id)

    assert proposal.hypothesis.endswith(f"({bet_id})")
    assert "`" not in proposal.name + proposal.hypothesis + proposal.change_description
    assert (proposal.metric, proposal.binding) == (Metric.TOKENS_PER_SESSION, None)
    assert proposal.to_json()["guardrails"] == ["success_rate:decrease:5"]


def test_the_beginning_of_an_id_is_enough(store: Store, bet_id: str) -> None:
    assert find_bet(store, "H3").id == bet_id


@pytest.mark.parametrize("prefix", ["", "H99", "H3:src/b"])
def test_an_unknown_bet_is_an_error_that_says_where_ids_are(store: Store, bet_id: str, prefix: str) -> None:
    with pytest.raises(ExperimentError, match="No stored retro made the bet"):
        find_bet(store, prefix)
    assert find_bet(store, bet_id)


def test_a_beginning_of_several_ids_is_an_error(store: Store, bet_id: str) -> None:
    other = WEEK.shifted(1)
    add_session(store, "t", other.start_ms, [answer(), *edits("/w/shop/src/b.py", 8)])
    save_retro(store, compute_retro(store, other, now_ms=other.end_ms))
    with pytest.raises(ExperimentError, match=r"several bets: H3:src/a\.py, H3:src/b\.py"):
        find_bet(store, "H3")
    assert find_bet(store, bet_id).id == bet_id


def test_two_prompt_variants_are_the_arms() -> None:
    proposal = prepare_proposal(make_bet("H16:aaaa|bbbb", metric="CostPerSession"))
    assert proposal.binding == PromptFingerprint(control_fingerprint="aaaa", treatment_fingerprint="bbbb")


@pytest.mark.parametrize(
    ("metric", "share", "target"),
    [
        ("TokensPerSession", 0.22, -20.0),
        ("TokensPerSession", 0.001, -5.0),
        ("TokensPerSession", 0.9, -50.0),
        ("TokensPerSession", None, -10.0),
        ("CostPerSession", 0.22, -10.0),
        ("SuccessRate", 0.22, 10.0),
    ],
)
def test_the_target_is_what_the_bet_expects(metric: str, share: float | None, target: float) -> None:
    assert prepare_proposal(make_bet("H3:a", metric=metric, share_of_tokens=share)).target_pct == target


def test_success_is_guarded_by_cost() -> None:
    [guardrail] = prepare_proposal(make_bet("H9:a", metric="SuccessRate")).guardrails
    assert (guardrail.metric, guardrail.regression_direction) == (Metric.COST_PER_SESSION, Direction.INCREASE)
