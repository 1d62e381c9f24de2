"""A whole retro on a small store."""

import subprocess
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from retro_stores import DAY_MS, MONDAY_MS, NOW_MS, WEEK, add_session, answer, edits, error, prompt

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.experiments.lifecycle import conclude, new_experiment, start
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.model import Delta, Direction, Experiment, ManualTag, Metric
from kaizen_analytics.retro.earlier import Fate
from kaizen_analytics.retro.relations import Window
from kaizen_analytics.retro.retro import Retro, compute_retro, describe_window, last_days, parse_week, save_retro
from kaizen_analytics.store import Store, list_experiments
from kaizen_analytics.store.retros import find_bets, load_retro

CHURN = "H3:src/a.py"


def churn(store: Store, at_ms: int, count: int = 8) -> None:
    add_session(store, f"churn{at_ms}", at_ms, [prompt(), answer(), *edits("/w/shop/src/a.py", count)])


def retro(store: Store, window: Window = WEEK, **options: object) -> Retro:
    return compute_retro(store, window, now_ms=window.end_ms, **options)  # type: ignore[arg-type]


def test_a_retro_bets_on_what_it_finds(store: Store) -> None:
    churn(store, MONDAY_MS)
    result = retro(store)

    assert [bet.id for bet in result.bets] == [CHURN]
    assert result.bets[0].tokens_saved_per_week == 1000, "no more than the window used"
    assert (result.tally.sessions, result.tally.prompts, result.tally.tokens) == (1, 1, 1000)
    assert result.label == "week 2026-W40"


def test_the_same_input_gives_the_same_retro(store: Store) -> None:
    churn(store, MONDAY_MS)
    add_session(store, "s", MONDAY_MS + 1, [answer(), error("overloaded")])

    assert retro(store).to_json() == retro(store).to_json()


def test_an_empty_week_says_what_it_could_not_ask(store: Store) -> None:
    result = retro(store)

    assert result.bets == ()
    assert result.tally.sessions == 0
    assert result.tally.cost_usd is None
    assert not any(finding.evaluated for finding in result.findings)


def test_the_saving_of_a_short_window_is_told_for_a_week(store: Store) -> None:
    churn(store, MONDAY_MS)
    add_session(store, "big", MONDAY_MS, [answer(tokens=10_000_000)])
    day = Window(start_ms=MONDAY_MS, end_ms=MONDAY_MS + DAY_MS)

    assert retro(store).bets[0].tokens_saved_per_week == 8 * 800
    assert retro(store, day).bets[0].tokens_saved_per_week == 7 * 8 * 800


def test_a_bet_is_not_made_twice_unless_it_grew(store: Store) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store))
    second = WEEK.shifted(1)
    churn(store, second.start_ms, 11)
    result = retro(store, second)
    third = WEEK.shifted(2)
    churn(store, third.start_ms, 12)

    assert (result.bets, [bet.id for bet in result.choice.repeated]) == ((), [CHURN])
    assert [former.fate for former in result.former_bets] == [Fate.OPEN]
    assert [bet.id for bet in retro(store, third).bets] == [CHURN]


def test_a_bet_is_made_again_after_four_weeks(store: Store) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store))
    for weeks, made in ((4, 0), (5, 1)):
        later = WEEK.shifted(weeks)
        churn(store, later.start_ms)
        assert len(retro(store, later).bets) == made, weeks


def test_a_rerun_replaces_its_own_retro(store: Store) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store))
    again = retro(store)
    save_retro(store, again)

    assert [bet.id for bet in again.bets] == [CHURN]
    assert [stored.bet_id for stored in find_bets(store, "")] == [CHURN]
    assert load_retro(store, again.id) == again.to_json()
    assert load_retro(store, "retro-none") is None


def test_another_scope_does_not_count_as_a_former_retro(store: Store) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store, workspace="/w/shop"))
    later = WEEK.shifted(1)
    churn(store, later.start_ms)

    assert [bet.id for bet in retro(store, later).bets] == [CHURN]
    assert retro(store, later, workspace="/w/shop").bets == ()


def test_a_bet_that_an_experiment_names_was_acted_on(store: Store) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store))
    experiment = Experiment(
        id="split",
        name="Split a.py",
        hypothesis=f"Fewer edits ({CHURN})",
        change_description="",
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field=""),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=NOW_MS,
    )
    new_experiment(store, experiment, Plan())
    [former] = retro(store, WEEK.shifted(1)).former_bets

    assert (former.fate, former.experiments) == (Fate.ACTED_ON, ("split",))
    assert retro(store).experiments == (), "a draft does not run"
    assert len(list_experiments(store)) == 1


def test_a_week_shows_the_experiments_that_ran_in_it(store: Store) -> None:
    base = Experiment(
        id="draft",
        name="x",
        hypothesis="",
        change_description="",
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field=""),
        duration_days=7,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=MONDAY_MS,
    )
    plan = Plan(planned_n=30)
    for name in ("draft", "running", "concluded"):
        new_experiment(store, replace(base, id=name), plan)
    start(store, "running", now_ms=MONDAY_MS + DAY_MS)
    start(store, "concluded", now_ms=MONDAY_MS + DAY_MS)
    conclude(store, "concluded", now_ms=MONDAY_MS + 9 * DAY_MS)

    shown = [{line.id for line in retro(store, WEEK.shifted(weeks)).experiments} for weeks in (-1, 0, 1, 2)]

    assert shown == [set(), {"running", "concluded"}, {"running", "concluded"}, {"running"}]


def test_a_bet_that_a_commit_names_was_acted_on(store: Store, tmp_path: Path) -> None:
    churn(store, MONDAY_MS)
    save_retro(store, retro(store))
    folder = tmp_path / "repo"
    folder.mkdir()
    moment = f"@{WEEK.end_ms // 1000} +0000"
    environment = {
        "GIT_AUTHOR_DATE": moment,
        "GIT_COMMITTER_DATE": moment,
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for command in (("init", "-q"), ("commit", "-q", "--allow-empty", "-m", f"Split the file\n\n{CHURN}")):
        subprocess.run(["git", "-C", folder, *identity, *command], check=True, env=environment)
    [former] = retro(store, WEEK.shifted(1), repository=folder).former_bets

    assert former.fate is Fate.ACTED_ON
    assert len(former.commits) == 1


def test_a_changed_threshold_is_used_and_told(store: Store) -> None:
    churn(store, MONDAY_MS, 3)

    assert retro(store).bets == ()
    result = retro(store, thresholds={"H3": {"min_edits": 3}})
    assert [bet.id for bet in result.bets] == [CHURN]
    assert result.provenance["thresholds"] == '{"H3": {"min_edits": 3}}'


def test_earlier_weeks_are_compared_from_the_first_session_on(store: Store) -> None:
    for weeks, tokens in ((-2, 100), (0, 300)):
        add_session(store, f"s{weeks}", WEEK.shifted(weeks).start_ms, [answer(tokens=tokens)])
    result = retro(store)

    assert [tally.tokens for tally in result.former_tallies] == [100, None]
    assert [tally.sessions for tally in result.former_tallies] == [1, 0]


def test_unknown_tokens_and_costs_stay_unknown(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, [{"kind": "Message", "payload": "{}"}], agent="cursor")
    result = retro(store)

    assert (result.tally.tokens, result.tally.cost_usd) == (None, None)
    assert result.quality.sessions_without_tokens == 1
    assert [(row.name, row.tokens) for row in result.breakdown.agents] == [("cursor", None)]


def test_every_day_of_the_window_has_a_row(store: Store) -> None:
    add_session(store, "s", MONDAY_MS + 2 * DAY_MS, [answer()])
    days = retro(store).breakdown.days

    assert [(row.name, row.sessions) for row in days][:3] == [("2026-09-28", 0), ("2026-09-29", 0), ("2026-09-30", 1)]
    assert len(days) == 7


def test_guidance_on_disk_is_looked_at(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / ".claude" / "skills"
    for place in range(22):
        (folder / f"s{place}").mkdir(parents=True)
        (folder / f"s{place}" / "SKILL.md").write_text("x" * 800)
    churn(store, MONDAY_MS)
    result = retro(store, repository=tmp_path)

    assert "H14:guidance" in [bet.id for bet in (*result.bets, *result.choice.further)]


def test_nothing_is_written_until_it_is_saved(store: Store) -> None:
    churn(store, MONDAY_MS)
    retro(store)
    assert find_bets(store, "") == []


@pytest.mark.parametrize(
    ("text", "start"),
    [("2026-W40", MONDAY_MS), ("2026-w40", MONDAY_MS), ("2026-W41", MONDAY_MS + 7 * DAY_MS)],
)
def test_a_week_is_monday_to_sunday(text: str, start: int) -> None:
    assert parse_week(text) == Window(start_ms=start, end_ms=start + 7 * DAY_MS)


@pytest.mark.parametrize("text", ["2026-40", "2026-W54", "last", "2026-W00"])
def test_a_wrong_week_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="expected an ISO week"):
        parse_week(text)


def test_the_last_days_end_with_today() -> None:
    noon = MONDAY_MS + DAY_MS // 2
    assert last_days(7, noon) == Window(start_ms=MONDAY_MS - 6 * DAY_MS, end_ms=MONDAY_MS + DAY_MS)
    assert describe_window(last_days(2, noon)) == "2026-09-27 to 2026-09-28"
    with pytest.raises(ConfigError, match="The window is 0 days long"):
        last_days(0, noon)


def test_tools_count_unknown_outcomes_apart(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, edits("/w/shop/src/a.py", 2))
    [row] = retro(store).breakdown.tools

    assert (row.name, row.calls, row.failed) == ("Edit", 2, None)


def test_files_touched_come_from_the_store(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, [answer()])
    with store.write():
        store.insert("files_touched", pl.DataFrame({"session_id": ["s", "s"], "path": ["a", "b"]}))
    from kaizen_analytics.retro.guidance import read_guidance
    from kaizen_analytics.retro.relations import read_material

    material = read_material(store, WEEK, workspace=None, lookback_start_ms=0, guidance=read_guidance(None))
    assert material.metrics["files_per_session"].to_list() == [2]
