"""The retro as Markdown, plain text and a page."""

from dataclasses import replace
from pathlib import Path

import pytest
from retro_stores import MONDAY_MS, WEEK, add_session, answer, edits, error, prompt

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.retro import documentation
from kaizen_analytics.retro.bets import Choice
from kaizen_analytics.retro.page import render_html
from kaizen_analytics.retro.retro import ExperimentLine, Retro, compute_retro, save_retro
from kaizen_analytics.retro.sections import (
    compact,
    compare_tallies,
    describe_tally,
    experiments,
    render_markdown,
    render_text,
)
from kaizen_analytics.store import Store

DOCS = Path(__file__).resolve().parents[3] / "docs"
HOSTILE = "src/<script>alert(1)</script>|**x**`y.py"


@pytest.fixture
def retro(store: Store) -> Retro:
    add_session(store, "s", MONDAY_MS, [prompt(), answer(1_290_000, 13_590_000), *edits("/w/shop/src/a.py", 8)])
    return compute_retro(store, WEEK, now_ms=WEEK.end_ms)


def test_markdown_reads_well_in_a_pull_request(retro: Retro) -> None:
    text = render_markdown(retro)

    assert text.startswith("# Retro, week 2026-W40\n")
    assert "**1 session, 1 prompt, 1.29 M new tokens, \\$13.59**" in text
    assert "### 1. `src/a.py` was edited up to 8 times in one session\n" in text
    assert "**Evidence.** Session `s`.\n" in text
    assert "**Id.** `H3:src/a.py`\n" in text
    assert "\n\n\n" not in text


def test_plain_text_has_no_markup(retro: Retro) -> None:
    text = render_text(retro)

    assert "1. src/a.py was edited up to 8 times in one session\n" in text
    assert "`" not in text
    assert "**" not in text


def test_names_from_data_stay_text(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, [answer(), *edits(f"/w/shop/{HOSTILE}", 8)])
    retro = compute_retro(store, WEEK, now_ms=WEEK.end_ms)

    page = render_html(retro)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|**x**&#x27;y.py" in page
    assert "### 1. `src/<script>alert(1)</script>|**x**'y.py` was edited" in render_markdown(retro)


def test_the_page_loads_nothing(retro: Retro) -> None:
    page = render_html(retro)

    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_window_without_sessions_says_what_to_do(store: Store) -> None:
    text = render_text(compute_retro(store, WEEK, now_ms=WEEK.end_ms))

    assert "No session started in this window\n" in text
    assert "'kaizen-analytics sessions list' says when the last sessions ran." in text
    assert "Without sessions there is nothing to bet on." in text
    assert "By day" not in text
    assert "no skills or rules on disk (H14)" in text


def test_a_repeated_finding_is_told(retro: Retro) -> None:
    known = replace(retro, choice=Choice(made=(), repeated=retro.bets, further=()))
    assert "1 finding had been a bet before and did not grow." in render_text(known)


def test_earlier_bets_are_followed_up(store: Store, retro: Retro) -> None:
    save_retro(store, retro)
    text = render_text(compute_retro(store, WEEK.shifted(1), now_ms=WEEK.shifted(1).end_ms))

    assert "src/a.py was edited up to 8 times in one session" in text
    assert "Could not be checked this time." in text


@pytest.mark.parametrize(
    ("low", "high", "is_lower_better", "shape"),
    [
        (-20.0, -5.0, True, "better"),
        (-20.0, -5.0, False, "worse"),
        (5.0, None, True, "worse"),
        (-5.0, 5.0, True, "no clear"),
    ],
)
def test_experiments_point_the_way_that_their_metric_says(
    retro: Retro, low: float, high: float | None, *, is_lower_better: bool, shape: str
) -> None:
    line = ExperimentLine(
        id="e", name="Shorter rules", state="Running", metric="TokensPerSession", verdict="met", sentence="It fell.",
        estimate=-6.0, low=low, high=high, is_lower_better=is_lower_better,
    )  # fmt: skip
    block = experiments(replace(retro, experiments=(line,)))

    assert shape in block.plain
    assert "Shorter rules (running; tokens per session)" in block.plain


def test_an_experiment_without_a_number_is_told_in_words(retro: Retro) -> None:
    line = ExperimentLine(
        id="e",
        name="New",
        state="Running",
        metric="TokensPerSession",
        verdict=None,
        sentence="Cannot be evaluated: no plan.",
    )
    block = experiments(replace(retro, experiments=(line,)))

    assert "Cannot be evaluated: no plan." in block.markdown
    assert "<svg" not in block.html


def test_a_week_is_compared_with_the_weeks_that_had_sessions(retro: Retro) -> None:
    now = retro.tally
    half = replace(now, tokens=645_000, cost_usd=13.59)
    empty = replace(now, sessions=0, tokens=None, cost_usd=None)

    assert compare_tallies(now, [empty, half]) == (
        "Against the one earlier window with sessions: sessions unchanged, tokens up 100\u00a0%, cost unchanged."
    )
    assert compare_tallies(now, [empty]) == "There is no earlier window with sessions to compare with."


def test_unknown_totals_are_called_unknown(retro: Retro) -> None:
    unknown = replace(retro.tally, prompts=None, tokens=None, cost_usd=None)
    assert describe_tally(unknown) == "1 session, tokens unknown, cost unknown"


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (1_290_000, "1.29 M"), (2e9, "2 G")]
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert compact(number) == text


def test_errors_of_a_service_become_a_bet_in_words(store: Store) -> None:
    for place in range(6):
        add_session(store, f"s{place}", MONDAY_MS + place, [answer(), error("over`loaded")])
    text = render_markdown(compute_retro(store, WEEK, now_ms=WEEK.end_ms))

    assert "### 1. Sessions fail with `over'loaded`" in text
    assert "Sessions `s5`, `s4`, `s3`, `s2`, `s1` and 1 more." in text


def test_the_documented_heuristics_are_those_of_the_files() -> None:
    text = (DOCS / "retro.md").read_text(encoding="utf-8")
    assert documentation.render_heuristics() in text, "run python -m kaizen_analytics.retro.documentation docs/retro.md"


def test_a_document_without_markers_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "retro.md"
    file.write_text("# Retro\n")
    with pytest.raises(ConfigError, match="lacks the line"):
        documentation.write_heuristics(file)


def test_the_table_is_written_between_its_markers(tmp_path: Path) -> None:
    file = tmp_path / "retro.md"
    file.write_text(f"before\n{documentation.BEGIN}\nold\n{documentation.END}\nafter\n")
    documentation.write_heuristics(file)
    documentation.write_heuristics(file)
    text = file.read_text()

    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old\n" not in text
    assert text.count("| H36 | cache-write waste |") == 1


def test_a_notebook_shows_the_bets_as_a_table(retro: Retro) -> None:
    page = retro._repr_html_()

    assert "Retro, week 2026-W40, all workspaces" in page
    assert page.count("<tr>") == 1 + len(retro.bets) == 2
    assert "1 session, 1 prompt, 1.29 M new tokens, $13.59." in page
    assert repr(retro) == f"<Retro {retro.id!r}: 1 sessions, 1 bets>"
    assert str(retro) == render_text(retro)
