"""The retro summary of the sample, run as a report."""

import json
from pathlib import Path

import pytest
from chromium_pipe import Browser
from page_checks import VIEWS, check_page

from kaizen_analytics.pages.documents import retro_document
from kaizen_analytics.pages.retro import whole
from kaizen_analytics.reports.runner import RunResult
from kaizen_analytics.retro.retro import compute_retro, parse_week
from kaizen_analytics.store import Store


@pytest.fixture
def page(sample_reports: dict[str, RunResult]) -> Path:
    return sample_reports["retro-2026-w38"].page


def test_the_page_and_the_function_say_the_same(page: Path, sample_store: Path) -> None:
    with Store.open(sample_store, read_only=True) as opened:
        window = parse_week("2026-W38")
        retro = compute_retro(opened, window, now_ms=window.end_ms)
    document = json.loads(page.with_name("report.json").read_text(encoding="utf-8"))
    document.pop("run")

    assert document == retro_document(retro)
    assert document["totals"]["sessions"] > 50
    assert str(document["totals"]["sessions"]) in whole(retro).markdown


def test_a_report_saves_nothing_unless_asked(page: Path, sample_store: Path) -> None:
    with Store.open(sample_store, read_only=True) as opened:
        assert page.exists()
        assert opened.native("select count(*) from ka_retros") == [("0",)]


@pytest.mark.system
@pytest.mark.parametrize("view", VIEWS)
def test_the_page_in_a_browser(browser: Browser, page: Path, view: str, tmp_path: Path) -> None:
    check_page(browser, page, view, tmp_path)
