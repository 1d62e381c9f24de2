"""The portfolio report over experiments in every state, as files and as a browser shows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from chromium_pipe import Browser
from experiment_cases import DAY_MS, make_experiment
from page_checks import HOSTILE, VIEWS, Elements, check_page

from kaizen_analytics.core.model import Classification, Delta, Direction, Experiment, Metric, State
from kaizen_analytics.experiments.lifecycle import archive, conclude, new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.portfolio import Portfolio
from kaizen_analytics.pages import portfolio as pages
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult
from kaizen_analytics.store import Store, save_experiment

START_MS = 1_788_768_000_000  # 2026-09-07 08:00
NOW_MS = START_MS + 14 * DAY_MS


def experiment(
    name: str, days: int, target_pct: float = -30.0, metric: Metric = Metric.TOKENS_PER_SESSION
) -> Experiment:
    return make_experiment(
        id=re.sub(r"\W+", "-", name)[:20].strip("-"),
        name=name,
        hypothesis=HOSTILE,
        change_description=HOSTILE,
        metric=metric,
        duration_days=days,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=target_pct),
        created_at_ms=START_MS,
    )


def begin(store: Store, planned: Experiment, planned_n: int) -> None:
    """Start an experiment on every second session of the sample's first two weeks."""
    known = store.read("select id, agent, started_at_ms from sessions where parent_session_id is null")
    early = known.filter(pl.col("agent") != "cursor", pl.col("started_at_ms") < NOW_MS)
    ids = early["id"].sort().to_list()
    new_experiment(store, planned, Plan(planned_n=planned_n))
    for number, arm in enumerate((Classification.CONTROL, Classification.TREATMENT)):
        tag(store, planned.id, ids[number::2], arm, now_ms=START_MS)
    start(store, planned.id, now_ms=START_MS)


@pytest.fixture(scope="module")
def portfolio(sessions_store: Path) -> RunResult:
    """Report on experiments in every state, one with a hostile name."""
    out = sessions_store.parent / "reports"
    with Store.open(sessions_store) as store:
        begin(store, experiment("Concluded in time", 10), 80)
        conclude(store, "Concluded-in-time", now_ms=START_MS + 10 * DAY_MS)
        begin(store, experiment("Put away", 10), 80)
        conclude(store, "Put-away", now_ms=START_MS + 10 * DAY_MS)
        archive(store, "Put-away", now_ms=START_MS + 11 * DAY_MS)
        begin(store, experiment("Left open since last week", 7, metric=Metric.COST_PER_SESSION), 60)
        begin(store, experiment(HOSTILE, 28, target_pct=-5.0), 2_000)
        new_experiment(store, experiment("Only a draft", 10), Plan())
        save_experiment(store, replace(experiment("Started by another tool", 10), state=State.RUNNING))
        store.native(
            "insert into experiments (id, name, created_at_ms, metadata) values ('e9', 'x', 6, '{') returning 1"
        )
    conclusion = out / "experiment_conclusion" / "Concluded-in-time" / "latest"
    conclusion.mkdir(parents=True)
    (conclusion / "report.html").write_text("The conclusion", encoding="utf-8")
    parameters = {"store": str(sessions_store), "now": "2026-09-21T08:00:00Z"}
    result = Runner(clock=lambda: NOW_MS).run(
        RunRequest(report=load_report("portfolio"), parameters=parameters, out=out)
    )
    assert result.exit_code == 0, result.record.error
    return result


@pytest.fixture(scope="module")
def page(portfolio: RunResult) -> str:
    return portfolio.page.read_text(encoding="utf-8")


def test_the_first_box_counts_what_needs_attention(page: str) -> None:
    box = page[page.index('class="callout') : page.index("<h2 ")]
    assert "4 experiments need attention" in box
    assert "1 passed the end and nobody concluded it: Left open since last week." in box
    assert "1 is running out of time: &lt;script&gt;" in box
    assert "1 cannot be evaluated: Started by another tool." in box
    assert "1 archived experiment is left out. 1 stored experiment cannot be read." in box


def test_every_list_says_what_to_do(portfolio: RunResult) -> None:
    text = (portfolio.folder / "report.md").read_text(encoding="utf-8")
    assert "Left open since last week ended 7 days ago, on 14 September 2026, with" in text
    assert "exp conclude Left-open-since-last'" in text
    assert re.search(r"ends in 14 days, on 5 October 2026\. Its \w+ arm has \d+ of 2,000 planned sessions", text)
    assert re.search(r"finds changes of \W\d+\.\d\s% or more in 80 of 100 cases, and its target is \W30\.0", text)
    assert "Too early to say, because the interval has no limits yet: \\<script" in text
    assert "Only a draft has been a draft since 7 September 2026 (14 days)" in text
    assert "exp start Started-by-another-t" in text
    assert "Experiment e9 cannot be read" in text


def test_an_experiment_links_to_its_conclusion_where_there_is_one(portfolio: RunResult, page: str) -> None:
    linked = [value for name, value in Elements(page).attributes if name == "href" and value.startswith("..")]
    assert [(portfolio.folder / address).read_text() for address in linked] == ["The conclusion"]
    assert "experiment_conclusion" not in (portfolio.folder / "report.md").read_text(encoding="utf-8")


def test_json_holds_every_experiment_and_the_lists(portfolio: RunResult) -> None:
    document = json.loads((portfolio.folder / "report.json").read_text(encoding="utf-8"))
    assert [line["state"] for line in document["lines"]] == ["Concluded", "Running", "Running", "Running", "Draft"]
    assert document["attention"]["left_open"] == ["Left-open-since-last"]
    assert len(document["attention"]["running_out"]) == 1
    assert document["archived"] == 1
    assert portfolio.record.data_as_of_ms == document["as_of_ms"] == NOW_MS


def test_hostile_names_stay_text_in_every_file(portfolio: RunResult, page: str) -> None:
    elements = Elements(page)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & elements.names
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    for text in (page, (portfolio.folder / "report.md").read_text(encoding="utf-8")):
        assert not {"\x00", "\x1b", "\u202e"} & set(text)
        assert "<script" not in text.lower().replace("\\<script", "")


def test_a_store_without_experiments_says_so() -> None:
    nothing = Portfolio(as_of_ms=NOW_MS, lines=(), archived=0, unreadable=())
    assert pages.overview(nothing).plain.startswith("There is no experiment yet")
    assert pages.decisions(nothing).plain == "No experiment has been evaluated."


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, portfolio: RunResult, view: str, tmp_path: Path) -> None:
    check_page(browser, portfolio.page, view, tmp_path)
