"""What became of the bets of earlier retros."""

from dataclasses import replace

import polars as pl
from retro_stores import make_bet

from kaizen_analytics.model import Delta, Direction, Experiment, ManualTag, Metric
from kaizen_analytics.retro.bets import Bet
from kaizen_analytics.retro.earlier import Fate, FormerBet, find_names, follow_up, latest_bets
from kaizen_analytics.retro.heuristics import BET_SCHEMA, Finding, load_heuristics
from kaizen_analytics.store.retros import StoredBet


def stored(bet: Bet, end_ms: int = 7) -> StoredBet:
    return StoredBet(retro_id=f"r{end_ms}", bet_id=bet.id, window_start_ms=0, window_end_ms=end_ms, bet=bet.to_json())


def asked(*numbers: int, missing: tuple[str, ...] = ()) -> list[Finding]:
    frame = pl.DataFrame(schema=BET_SCHEMA)
    chosen = [heuristic for heuristic in load_heuristics() if heuristic.number in numbers]
    return [Finding(heuristic=heuristic, rows=frame, missing=missing) for heuristic in chosen]


def experiment(text: str) -> Experiment:
    return Experiment(
        id="e1",
        name="Smaller files",
        hypothesis=text,
        change_description="",
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field=""),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=0,
    )


def follow(bet: Bet, candidates: list[Bet], findings: list[Finding], **named: object) -> FormerBet:
    given = {"experiments": [], "messages": [], **named}
    [former] = follow_up([stored(bet)], candidates=candidates, findings=findings, **given)  # type: ignore[arg-type]
    return former


BET = make_bet("H3:src/a.py")


def test_a_bet_that_is_still_found_is_open() -> None:
    former = follow(BET, [replace(BET, occurrences=12)], asked(3))

    assert former.fate is Fate.OPEN
    assert former.sentence == "Still open; seen 10 times then, 12 times now."


def test_a_bet_that_is_no_longer_found_faded() -> None:
    former = follow(BET, [], asked(3))

    assert (former.fate, former.occurrences_now) == (Fate.FADED, None)
    assert former.sentence == "No longer seen, though nothing names it."


def test_a_bet_whose_heuristic_was_not_asked_is_unknown() -> None:
    assert follow(BET, [], asked(3, missing=("touches",))).fate is Fate.UNKNOWN


def test_an_experiment_or_a_commit_that_names_the_id_acts_on_it() -> None:
    by_experiment = follow(BET, [], asked(3), experiments=[experiment("Split it (H3:src/a.py)")])
    by_commit = follow(BET, [BET], asked(3), messages=[("0123456789abcdef", "Split a\n\nH3:src/a.py")])

    assert by_experiment.sentence == "Acted on (experiment e1); no longer seen."
    assert by_commit.sentence == "Acted on (commit 0123456789); seen 10 times then, 10 times now."


def test_the_latest_version_of_a_bet_counts() -> None:
    old, new = stored(BET, 7), stored(replace(BET, occurrences=40), 14)

    assert latest_bets([old, new])[BET.id].occurrences == 40
    [former] = follow_up([old, new], candidates=[], findings=[], experiments=[], messages=[])
    assert (former.made_in, former.bet.occurrences) == ("r14", 40)


def test_a_longer_id_does_not_name_a_shorter_one() -> None:
    names = find_names(["H4:go", "H4:go test"], [("c1", "Fixes H4:go test."), ("c2", "H4:gopher"), ("c3", "H4:go!")])
    assert names == {"H4:go": ("c3",), "H4:go test": ("c1",)}


def test_no_earlier_bets_name_nothing() -> None:
    assert find_names([], [("c", "anything")]) == {}
