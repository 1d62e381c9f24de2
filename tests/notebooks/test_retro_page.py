"""The retro summary of the sample, run as a report."""

import json
from pathlib import Path

import pytest
from chromium_pipe import Browser
from page_checks import VIEWS, check_page

from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.pages.documents import retro_document
from kaizen_analytics.pages.retro import SECTIONS, whole
from kaizen_analytics.reports.runner import run_report
from kaizen_analytics.retro.retro import compute_retro, parse_week
from kaizen_analytics.store import Store

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("retro") / "kaizen.db"
    with Store.open(path, create=True) as opened:
        run_ingest(opened, [SAMPLE / "home"], environment={})
    return path


@pytest.fixture(scope="module")
def page(store: Path) -> Path:
    parameters = {"store": str(store), "week": "2026-W38", "now": "2026-09-21T00:00:00Z"}
    return run_report("retro_summary", parameters, store.parent / "reports").page


def test_the_page_has_every_section(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert "Retro, week 2026-W38" in text
    assert [title for title, _ in SECTIONS if f">{title}" not in text] == []
    assert "<script" not in text


def test_the_page_and_the_function_say_the_same(page: Path, store: Path) -> None:
    with Store.open(store, read_only=True) as opened:
        window = parse_week("2026-W38")
        retro = compute_retro(opened, window, now_ms=window.end_ms)
    document = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    document.pop("run")

    assert document == retro_document(retro)
    assert document["totals"]["sessions"] > 50
    assert str(document["totals"]["sessions"]) in whole(retro).markdown


def test_a_report_saves_nothing_unless_asked(page: Path, store: Path) -> None:
    with Store.open(store, read_only=True) as opened:
        assert page.exists()
        assert opened.native("select count(*) from ka_retros") == [("0",)]


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, page: Path, view: str, tmp_path: Path) -> None:
    check_page(browser, page, view, tmp_path)
