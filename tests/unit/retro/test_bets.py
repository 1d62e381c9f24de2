"""Ranking, repeats and the choice of bets."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from retro_stores import make_bet

from kaizen_analytics.errors import QueryError
from kaizen_analytics.retro.bets import Bet, choose_bets, collect_bets, inflect, rank
from kaizen_analytics.retro.heuristics import BET_SCHEMA, Category, Confidence, Finding, load_heuristics

HIGH, MEDIUM, LOW = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW
QUICK, LOOK, HYGIENE = Category.QUICK_WIN, Category.INVESTIGATION, Category.HYGIENE


def finding(*rows: dict[str, object]) -> Finding:
    plain = {"title": "t", "hypothesis": "h.", "apply_step": "d.", "evidence": ["s"], "occurrences": 1}
    frame = pl.DataFrame([{"tokens_saved_per_week": 100.0, **plain, **row} for row in rows], schema=BET_SCHEMA)
    return Finding(heuristic=load_heuristics()[0], rows=frame)


def test_the_score_is_the_weighted_saving_for_each_minute() -> None:
    bet = make_bet("H3:a", confidence=MEDIUM, tokens_saved_per_week=1000, effort_minutes=9)
    assert bet.score == 0.6 * 1000 / 10


def test_ties_go_to_the_latest_evidence_then_to_the_id() -> None:
    old, new = make_bet("H3:a", evidence_recency_ms=1), make_bet("H3:b", evidence_recency_ms=2)
    twin = make_bet("H3:c", evidence_recency_ms=2)

    assert sorted([twin, old, new], key=rank) == [new, twin, old]


def test_one_sure_bet_two_investigations_and_two_small_ones_are_made() -> None:
    ranked = [
        make_bet("H1:sure", confidence=HIGH, category=QUICK),
        make_bet("H2:look", confidence=MEDIUM, category=LOOK),
        make_bet("H9:look too", confidence=HIGH, category=LOOK),
        make_bet("H11:third look", confidence=MEDIUM, category=LOOK),
        make_bet("H4:small", confidence=LOW, category=HYGIENE),
        make_bet("H29:small too", confidence=HIGH, category=QUICK),
        make_bet("H5:third small", confidence=LOW, category=HYGIENE),
    ]
    choice = choose_bets(ranked, {})

    assert [bet.heuristic for bet in choice.made] == ["H1", "H2", "H9", "H4", "H29"]
    assert [bet.heuristic for bet in choice.further] == ["H11", "H5"]


def test_one_heuristic_makes_one_bet() -> None:
    choice = choose_bets([make_bet("H3:a"), make_bet("H3:b"), make_bet("H2:c")], {})

    assert [bet.id for bet in choice.made] == ["H3:a", "H2:c"]
    assert [bet.id for bet in choice.further] == ["H3:b"]


def test_low_confidence_is_no_investigation() -> None:
    assert choose_bets([make_bet("H3:a", confidence=LOW)], {}).made == ()


@pytest.mark.parametrize(("occurrences", "is_repeated"), [(14, True), (15, False)])
def test_a_bet_is_made_again_once_it_grew_by_half(occurrences: int, *, is_repeated: bool) -> None:
    former = make_bet("H3:a", occurrences=10)
    choice = choose_bets([replace(former, occurrences=occurrences)], {"H3:a": former})

    assert bool(choice.repeated) is is_repeated
    assert bool(choice.made) is not is_repeated


@given(st.lists(st.tuples(st.sampled_from(["H1", "H2", "H3", "H4"]), st.integers(0, 99)), unique=True, max_size=12))
def test_every_candidate_ends_in_exactly_one_place(names: list[tuple[str, int]]) -> None:
    bets = [make_bet(f"{heuristic}:{key}", occurrences=key) for heuristic, key in names]
    former = {bet.id: bet for bet in bets[::3]}
    choice = choose_bets(sorted(bets, key=rank), former)

    assert sorted(bet.id for part in (choice.made, choice.repeated, choice.further) for bet in part) == sorted(
        bet.id for bet in bets
    )
    assert len(choice.made) <= 5


def test_evidence_is_listed_latest_first() -> None:
    [bet] = collect_bets(
        [finding({"bet_key": "k", "evidence": ["a", "b", "c", "a"]})],
        started_ms={"a": 1, "b": 3, "c": 3},
        tokens_per_week=None,
    )

    assert bet.evidence == ("b", "c", "a")
    assert bet.evidence_recency_ms == 3
    assert bet.share_of_tokens is None


def test_no_bet_saves_more_than_was_used() -> None:
    [bet] = collect_bets(
        [finding({"bet_key": "k", "tokens_saved_per_week": 500.0})], started_ms={}, tokens_per_week=200.0
    )

    assert (bet.tokens_saved_per_week, bet.share_of_tokens) == (200, 1.0)


def test_two_bets_of_one_id_are_an_error() -> None:
    with pytest.raises(QueryError, match="two bets the id 'H1:k'"):
        collect_bets([finding({"bet_key": "k"}, {"bet_key": "k"})], started_ms={}, tokens_per_week=None)


def test_a_bet_survives_json() -> None:
    bet = make_bet("H3:a", evidence=("x", "y"), share_of_tokens=0.5)
    assert Bet.from_json(bet.to_json()) == bet


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1 session(s)", "1 session"), ("12 session(s)", "12 sessions"), ("1,201 file(s)", "1,201 files")],
)
def test_numbers_and_nouns_agree(text: str, expected: str) -> None:
    assert inflect(f"In {text}.") == f"In {expected}."
