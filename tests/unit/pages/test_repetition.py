"""A page says a sentence once, and a page that does not say "ship" has no good marks."""

import re
from collections import Counter
from pathlib import Path

import pytest

from kaizen_analytics.core.model import DesignKind, GitCommit
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.pages import conclusion, plans

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
PAGES = sorted(GOLDEN.glob("*.md"))
VALUES = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]


def sentences(text: str) -> list[str]:
    """Return the sentences of six words or more; what only readers of Markdown get of a chart is left out."""
    lines = [line.strip("> -") for line in text.splitlines() if not line.startswith(("*", "|"))]
    found = [sentence for line in lines for sentence in re.split(r"(?<=[.:;])\s+", line)]
    return [sentence for sentence in found if len(sentence.split()) >= 6]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem.startswith("conclusion")], ids=lambda page: page.stem
)
def test_no_sentence_is_said_twice(page: Path) -> None:
    said = Counter(sentences(page.read_text(encoding="utf-8")))
    assert [sentence for sentence, times in said.items() if times > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_not_shipped_has_no_good_mark_and_is_not_met(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "**Ship**" not in text, "the sample ships nothing"
    assert "✓" not in text
    assert not re.search(r"\bmet\b", text)


def test_a_violated_guardrail_takes_every_good_mark_from_the_page(evaluate) -> None:
    halved, harm = [value / 2 for value in VALUES], {"total_tokens_per_session": None}
    evaluation = evaluate(VALUES, halved, columns=harm)
    html = "".join(part(evaluation).html for part in (conclusion.decision, conclusion.trust, conclusion.effects))
    assert 'class="state good"' not in html
    assert "callout good" not in html


def test_a_reason_that_holds_for_every_metric_is_given_once(evaluate):
    evaluation = evaluate([100.0], [50.0, 60.0], columns={"cost_per_session": 1.0, "total_tokens_per_session": 2.0})
    parts = (conclusion.decision, conclusion.effects, conclusion.shift, conclusion.course)
    said = Counter(sentences("\n".join(part(evaluation).markdown for part in parts)))
    assert [sentence for sentence, times in said.items() if times > 1] == []
    assert "has only 1 session with a value" in " ".join(said)
    assert "Cost per session: not compared, for the reason at the top." in " ".join(said)


def test_the_arms_of_a_commit_are_named_by_the_commit_that_was_meant(evaluate):
    experiment = evaluate(VALUES, VALUES, binding=GitCommit("HEAD~1", "HEAD")).experiment
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, control_ref="c" * 40, treatment_ref="d" * 40)
    arms = [dict(plans.describe(experiment, Plan(started=started)))["Arms"] for started in (None, start)]
    assert arms[0].endswith("control HEAD~1, treatment HEAD")
    assert arms[1].endswith(f"control {'c' * 12}, treatment {'d' * 12}")


def test_why_the_arms_cannot_be_judged_is_said_once(evaluate):
    start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=86_400_000)
    plan = Plan(design=DesignKind.FIXED, started=start, control_share=0.5)
    found = evaluate(VALUES * 12, VALUES, plan=plan)
    said = Counter(sentence.lower() for sentence in sentences(conclusion.decision(found).markdown))
    assert any(sentence.startswith("the treatment holds 8 of 104 sessions") for sentence in said)
    assert [sentence for sentence, times in said.items() if times > 1] == []
