"""A whole retro on a small store: its window, what it keeps, and what it says of earlier findings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from experiment_cases import git, make_experiment, make_repository
from retro_stores import DAY_MS, MONDAY_MS, WEEK, add_session, add_week, misspelt
from scipy import stats

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.model import Metric, Window
from kaizen_analytics.experiments.decide import Headline
from kaizen_analytics.experiments.lifecycle import new_experiment, start
from kaizen_analytics.experiments.plan import Plan, get_plan
from kaizen_analytics.experiments.sample import read_sample
from kaizen_analytics.pages.retro import describe_followed, findings, followed, list_unknown, whole
from kaizen_analytics.retro.followup import Followed, Standing, update_exposures
from kaizen_analytics.retro.patch import render_patch
from kaizen_analytics.retro.proposal import _size_for_rate, open_proposal
from kaizen_analytics.retro.retro import (
    ExperimentLine,
    Retro,
    compute_retro,
    describe_window,
    last_days,
    parse_week,
    save_retro,
)
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import get_experiment
from kaizen_analytics.store.retros import decline_finding, find_finding, list_findings

NEXT, LAST = (
    Window(start_ms=WEEK.start_ms + weeks * WEEK.length_ms, end_ms=WEEK.end_ms + weeks * WEEK.length_ms)
    for weeks in (1, 2)
)


def make(store: Store, window: Window = WEEK, **options: object) -> Retro:
    return compute_retro(store, window, now_ms=window.end_ms, **options)  # type: ignore[arg-type]


def test_a_retro_finds_counts_and_stores(store: Store):
    add_week(store, MONDAY_MS, wrong=6, right=2)
    retro = make(store)
    save_retro(store, retro)

    (finding,) = retro.findings
    assert (finding.times, finding.sessions, finding.exposed, finding.days) == (6, 6, 8, 2)
    assert (retro.totals.sessions, retro.totals.prompts, retro.totals.cost_usd) == (8, 6, 0.06)
    assert [item.id for item in list_findings(store)] == [finding.id]
    assert "rtk bun test does not work here" in findings(retro).markdown
    assert retro.label == "week 2026-W40"


def test_the_same_store_gives_the_same_bytes(store: Store):
    add_week(store, MONDAY_MS, wrong=6, right=2)

    one, two = (json.dumps(make(store).to_json()) for _ in range(2))

    assert one == two
    assert make(store).id == "retro-20260928-20261004-all"


def test_an_empty_window_says_so(store: Store):
    retro = make(store)

    assert (retro.findings, retro.totals.sessions, retro.totals.cost_usd) == ((), 0, None)
    assert "No session started in this window" in whole(retro).plain


@pytest.mark.slow
def test_only_the_named_repository_counts(store: Store):
    add_week(store, MONDAY_MS, wrong=4, right=0)
    add_week(store, MONDAY_MS + 1, wrong=4, right=0, workspace="/w/other")

    assert [finding.repository for finding in make(store, repository="/w/other").findings] == ["/w/other"]
    assert len(make(store).findings) == 2
    assert "in /w/other. Do: add to CLAUDE.md" in whole(make(store)).plain


def test_what_cannot_be_evaluated_is_told_with_its_reason(store: Store):
    add_session(store, "s", MONDAY_MS, [])

    told = " ".join(list_unknown(make(store, repository="/w/shop")))

    assert "Not evaluable, because no session ran a command:" in told
    assert "wrong command" in told


@pytest.mark.slow
def test_a_declined_finding_is_silent_until_it_doubles(store: Store):
    add_week(store, MONDAY_MS, wrong=4, right=8)
    save_retro(store, make(store))
    (item,) = list_findings(store)
    decline_finding(store, item.id, "rtk is on its way", now_ms=WEEK.end_ms)
    add_week(store, NEXT.start_ms, wrong=7, right=5)
    add_week(store, NEXT.end_ms, wrong=10, right=2)

    calm, loud = make(store, NEXT), make(store, LAST)

    assert calm.findings == ()
    assert [(one.standing, one.note) for one in calm.followed] == [(Standing.DECLINED, "rtk is on its way")]
    assert [finding.id for finding in loud.findings] == [item.id]


def test_a_finding_keeps_its_id_and_its_first_window(store: Store):
    add_week(store, MONDAY_MS, wrong=4, right=0)
    save_retro(store, make(store))
    add_week(store, NEXT.start_ms, wrong=4, right=0)
    save_retro(store, make(store, NEXT))

    assert [item.made_ms for item in list_findings(store)] == [WEEK.end_ms]


def test_a_finding_that_is_gone_is_counted_since(store: Store):
    add_week(store, MONDAY_MS, wrong=8, right=2)
    save_retro(store, make(store))
    add_week(store, NEXT.start_ms, wrong=0, right=10)

    (one,) = make(store, NEXT).followed

    assert (one.standing, one.hit, one.exposed, one.former_hit, one.former_exposed) == (Standing.PROPOSED, 0, 10, 8, 10)
    assert one.expected == 8.0
    # All 8 hits among the former 10 of 20 sessions: C(10, 8) / C(20, 8).
    assert one.p_value == pytest.approx(45 / 125_970)
    assert (
        describe_followed(one) == "0 of 10 sessions since 5 October 2026; 8.0 expected at the former rate, p = 0.000357"
    )


@pytest.mark.slow
def test_a_change_that_a_commit_applied_is_followed_from_there(store: Store, tmp_path: Path):
    root = make_repository(tmp_path / "shop")
    (root / "CLAUDE.md").write_text("# Shop\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one", at_s=MONDAY_MS / 1000)
    add_week(store, MONDAY_MS, wrong=8, right=2, workspace=str(root))
    save_retro(store, make(store))
    (finding,) = make(store).findings
    (root / "fix.patch").write_text(render_patch(finding.change, finding.id, root))

    git(root, "apply", "fix.patch")
    git(root, "commit", "-qam", "two", at_s=WEEK.end_ms / 1000)
    add_week(store, NEXT.start_ms, wrong=0, right=10, workspace=str(root))
    (one,) = make(store, NEXT, root=root).followed

    assert one.standing is Standing.APPLIED
    assert one.note.startswith("commit ")
    assert (one.since_ms, one.hit, one.exposed) == (WEEK.end_ms, 0, 10)
    assert f"<!-- kaizen {finding.id} -->\n- Run `bun test`" in (root / "CLAUDE.md").read_text()
    assert render_patch(finding.change, finding.id, root) == ""


@pytest.mark.parametrize(
    ("headline", "text", "is_green"),
    [
        (Headline.DO_NOT_SHIP, "decided: do not ship", False),
        (Headline.WORSE, "decided: worse", False),
        (Headline.SHIP, "decided: ship", True),
    ],
)
def test_only_a_decision_to_ship_has_a_green_mark(store: Store, headline: Headline, text: str, *, is_green: bool):
    made = SimpleNamespace(decision=SimpleNamespace(headline=headline))
    line = ExperimentLine(id="e", name="e", state="Concluded", metric=Metric.FINDING_RATE, evaluation=made)  # type: ignore[arg-type]
    words = {"id": "f", "kind": "rework", "repository": "/w", "title": "t", "note": "experiment e"}
    counts = {"since_ms": 0, "hit": 0, "exposed": 0, "former_hit": 0, "former_exposed": 0}
    one = Followed(**words, **counts, standing=Standing.DECIDED, expected=None, p_value=None)  # type: ignore[arg-type]

    told = followed(replace(make(store), followed=(one,), experiments=(line,))).plain

    assert text in told
    assert ("\u2713" in told) == is_green


def test_no_session_since_is_no_success(store: Store):
    add_week(store, MONDAY_MS, wrong=8, right=2)
    save_retro(store, make(store))
    add_session(store, "late", NEXT.start_ms, [])

    (one,) = make(store, NEXT).followed

    assert describe_followed(one) == "no session was exposed since 5 October 2026"


def test_a_finding_becomes_an_experiment(store: Store):
    add_week(store, MONDAY_MS, wrong=8, right=2)
    save_retro(store, make(store))
    (finding,) = make(store).findings

    proposal = open_proposal(store, "wrong")

    assert proposal.finding == finding.id
    assert proposal.content.text == f"{finding.change.line}\n"
    assert proposal.options["metric"] == "finding_rate"
    assert _size_for_rate(8 / 10) == 10, "8 of 10 sessions, to a tenth of that"
    assert proposal.options["planned_n"] == 16, "lots fall unevenly, and each arm needs 10"
    assert finding.id in proposal.options["hypothesis"]


def test_ids_may_be_shortened_as_long_as_they_are_one(store: Store):
    add_week(store, MONDAY_MS, wrong=4, right=0)
    add_week(store, MONDAY_MS + 1, wrong=4, right=0, workspace="/w/other")
    save_retro(store, make(store))

    with pytest.raises(ConfigError, match="is the beginning of several findings"):
        find_finding(store, "wrong")
    with pytest.raises(ConfigError, match="No stored finding has the id"):
        find_finding(store, "")


def test_bets_of_former_versions_stay_readable(store: Store):
    add_session(store, "s", MONDAY_MS, misspelt())
    with store.write():
        store.native("insert into ka_retros values ('r', '', ?, ?, 0, '{}') returning 1", WEEK.start_ms, WEEK.end_ms)
        bet = '{"id": "H3:a", "title": "`a` was edited 8 times"}'
        store.native("insert into ka_bets values ('r', 1, 'H3:a', ?) returning 1", bet)

    text = whole(make(store, NEXT)).plain

    assert "week 2026-W40  a was edited 8 times" in text


def test_windows_end_before_today_and_tile():
    now_ms = MONDAY_MS + 9 * DAY_MS + 3_600_000

    window = last_days(7, now_ms)

    assert window == Window(start_ms=MONDAY_MS + 2 * DAY_MS, end_ms=MONDAY_MS + 9 * DAY_MS)
    assert last_days(7, now_ms + 7 * DAY_MS).start_ms == window.end_ms


def test_days_are_those_of_the_zone():
    window = parse_week("2026-W43", "Europe/Berlin")

    assert window.length_ms == 7 * DAY_MS + 3_600_000, "the week in which summer time ends"
    assert describe_window(window, "Europe/Berlin") == "week 2026-W43"
    assert last_days(1, MONDAY_MS, "Asia/Tokyo").end_ms == MONDAY_MS + 9 * 3_600_000 - 9 * 3_600_000 - 9 * 3_600_000


@pytest.mark.parametrize("week", ["2026", "2026-W60", "W40"])
def test_a_week_that_is_none_is_an_error(week: str):
    with pytest.raises(ConfigError, match="expected an ISO week"):
        parse_week(week)


def test_a_window_needs_a_day():
    with pytest.raises(ConfigError, match="expected 1 to 36500"):
        last_days(0, MONDAY_MS)


@pytest.mark.parametrize("rate", [0.8, 0.5, 0.3])
def test_a_size_is_the_smallest_that_tells_a_rate_from_its_tenth(rate: float):
    def power(n: int) -> float:
        """The chance that Fisher's exact test rejects, over all tables."""
        before, after = (stats.binom.pmf(range(n + 1), n, share) for share in (rate, rate / 10))
        return sum(
            before[old] * after[new]
            for old in range(n + 1)
            for new in range(n + 1)
            if new < old and 2 * stats.fisher_exact([[old, n - old], [new, n - new]], "greater").pvalue <= 0.05
        )

    size = _size_for_rate(rate)

    assert size is not None
    assert power(size) >= 0.8
    assert size == 10 or power(size - 1) < 0.8


@pytest.mark.slow
def test_an_experiment_measures_how_often_its_finding_is_seen(store: Store):
    add_week(store, MONDAY_MS, wrong=8, right=2)
    save_retro(store, make(store))
    (finding,) = make(store).findings
    options = {"metric": Metric.FINDING_RATE, "hypothesis": f"see {finding.id}", "created_at_ms": WEEK.end_ms}
    experiment = make_experiment(id="e", **options)
    new_experiment(store, experiment, Plan(planned_n=10, workspaces=("/w/shop",)))
    start(store, "e", now_ms=NEXT.start_ms)
    add_week(store, NEXT.start_ms, wrong=3, right=5)
    add_session(store, "silent", NEXT.start_ms, [])

    update_exposures(store, now_ms=NEXT.end_ms)

    sample = read_sample(store, get_experiment(store, "e"), get_plan(store, "e")).frame
    rates = dict(sample.select("session_id", "finding_rate").iter_rows())
    assert [rates[f"{NEXT.start_ms}-{number}"] for number in range(8)] == [1.0] * 3 + [0.0] * 5
    assert rates["silent"] is None, "it ran no command"
