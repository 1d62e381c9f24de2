"""The conclusion report of a real store, as files and as a browser shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chromium_pipe import Browser
from experiment_cases import make_experiment
from page_checks import HOSTILE, VIEWS, Elements, check_page

from kaizen_analytics.core.model import Classification, Direction, Experiment, GuardrailSpec, Metric
from kaizen_analytics.experiments.lifecycle import new_experiment, start, tag
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.reports.catalogue import load_report
from kaizen_analytics.reports.runner import Runner, RunRequest, RunResult
from kaizen_analytics.store import Store

LONG = "Zusammengehörigkeitsgefühlsverstärkungsmaßnahmenkatalogversionierungsbeauftragter " * 2
FORMATS = ("html", "md", "json", "ipynb")
NOW = "2026-10-01T00:00:00Z"


def hostile_experiment(created_at_ms: int) -> Experiment:
    return make_experiment(
        id=HOSTILE.replace("\x00", ""),  # no operating system takes NUL in an argument
        name=HOSTILE,
        hypothesis=LONG,
        change_description=HOSTILE,
        duration_days=365,
        created_at_ms=created_at_ms,
        guardrails=(GuardrailSpec(Metric.SUCCESS_RATE, Direction.DECREASE, 10),),
    )


@pytest.fixture(scope="module")
def conclusion(sessions_store: Path) -> RunResult:
    """Report on an experiment with hostile texts over the sample's sessions."""
    created_at_ms = 1_787_000_000_000
    experiment = hostile_experiment(created_at_ms)
    with Store.open(sessions_store) as store:
        ids = store.read("select id from sessions where parent_session_id is null order by id")["id"].to_list()
        new_experiment(store, experiment, Plan(planned_n=100))
        for number, arm in enumerate((Classification.CONTROL, Classification.TREATMENT)):
            tag(store, experiment.id, ids[number::2], arm, now_ms=created_at_ms)
        start(store, experiment.id, now_ms=created_at_ms)
    parameters = {"experiment_id": experiment.id, "store": str(sessions_store), "now": NOW}
    report, out = load_report("experiment_conclusion"), sessions_store.parent / "reports"
    request = RunRequest(report=report, parameters=parameters, out=out, formats=FORMATS)
    result = Runner(clock=lambda: 1_790_812_800_000).run(request)
    assert result.exit_code == 0, result.record.error
    return result


@pytest.fixture(scope="module")
def page(conclusion: RunResult) -> str:
    return (conclusion.folder / "report.html").read_text(encoding="utf-8")


def test_the_first_box_says_what_to_do(page: str) -> None:
    box = page[page.index('class="callout') :]
    assert page.index("</h1>") < page.index('class="callout') < page.index("<h2 ")
    assert re.search(r'<p class="headline">.*?(Ship|Do not ship|Do not decide)', box)
    for word in ("Change", "Target", "95\u00a0% interval", "Rule."):
        assert word in box[: box.index("</section>")]


def test_the_page_is_one_small_file_that_loads_and_runs_nothing(page: str) -> None:
    assert len(page.encode()) <= 150_000
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    elements = Elements(page)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & elements.names
    assert not [name for name, _ in elements.attributes if name.startswith("on")]
    links = [value for name, value in elements.attributes if name in {"src", "href", "action", "xlink:href"}]
    assert all(value.startswith(("data:", "#section-")) for value in links)


def test_hostile_text_stays_text_in_every_file(conclusion: RunResult, page: str) -> None:
    markdown = (conclusion.folder / "report.md").read_text(encoding="utf-8")
    for text in (page, markdown):
        assert not {"\x00", "\x1b", "\u202e"} & set(text)
        assert "<script" not in text.lower().replace("\\<script", "")
    assert "&lt;script&gt;alert(&quot;x&quot;)" in page
    assert "\\<script\\>" in markdown
    document = json.loads((conclusion.folder / "report.json").read_text(encoding="utf-8"))
    assert document["name"] == HOSTILE
    assert conclusion.folder.parent.name.startswith("script-alert-x-script-img-src")


def test_every_chart_has_a_name_and_its_ids_are_unique(page: str) -> None:
    names = re.findall(r'<div class="chart" role="img" aria-label="([^"]+)">', page)
    assert len(names) == len(re.findall(r"<figure>", page)) >= 3
    assert all(len(name) > 60 for name in names)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_json_holds_the_evaluation_and_the_run(conclusion: RunResult) -> None:
    document = json.loads((conclusion.folder / "report.json").read_text(encoding="utf-8"))
    assert document["run"]["run_id"] == conclusion.record.run_id
    assert {"verdict", "decision", "percent", "arms", "guardrails", "excluded", "quality"} <= set(document)
    assert conclusion.record.data_as_of_ms == document["as_of_ms"] == 1_790_812_800_000


@pytest.mark.usefixtures("without_kernel")
def test_the_same_inputs_give_the_same_bytes(write_notebook, tmp_path: Path) -> None:
    """What a real kernel shows is compared with the committed notebooks (test_golden.py)."""
    report = load_report(write_notebook("print('# same')"))
    first, again = (
        Runner(clock=lambda: 1_790_812_800_000).run(
            RunRequest(report=report, parameters={}, out=tmp_path / out, formats=FORMATS)
        )
        for out in "ab"
    )
    assert first.record.run_id == again.record.run_id
    assert len(first.record.outputs) >= len(FORMATS)
    for output in first.record.outputs:
        assert (again.folder / output.path).read_bytes() == (first.folder / output.path).read_bytes(), output.path


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, conclusion: RunResult, view: str, tmp_path: Path) -> None:
    check_page(browser, conclusion.folder / "report.html", view, tmp_path)
