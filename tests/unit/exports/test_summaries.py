"""Markdown to paste: what it says, and that it needs nothing but lists, headings and code."""

from __future__ import annotations

import re

import pytest
from canary_stores import NOW_MS, WEEK

from kaizen_analytics.core.model import Window
from kaizen_analytics.exports.columns import TABLES
from kaizen_analytics.exports.tables import _RENDERERS, export_retro, export_table
from kaizen_analytics.redact import Redactor
from kaizen_analytics.retro.retro import compute_retro
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.store import Store


def row(name: str, /, **values: object) -> dict[str, object]:
    return dict.fromkeys(TABLES[name]().schema) | values


@pytest.fixture
def summary(canary_store: Store, redactor: Redactor) -> str:
    retro = compute_retro(canary_store, WEEK, now_ms=NOW_MS)
    return export_retro(retro, Wording(redactor=redactor)).markdown


def test_a_retro_has_its_findings_with_what_to_do(summary: str):
    assert summary.startswith("## Retro, week 2026-W40\n")
    _, _, rest = summary.partition("\n1. ")
    finding, _, _ = rest.partition("\n\n")
    assert re.findall(r"^   - (\w+)", finding, re.MULTILINE) == ["Seen", "Do", "Evidence", "Id"]
    assert re.search(r"### Experiments\n\n- `name-[0-9a-f]{10}` \(concluded\): tokens per session", summary)


def test_a_retro_pastes_into_a_chat(summary: str):
    assert "<" not in summary
    assert "|" not in re.sub(r"`[^`]*`", "", summary), "a table"
    assert "**" not in summary
    assert max(map(len, summary.splitlines())) < 300


def test_an_empty_week_says_so(canary_store: Store, redactor: Redactor):
    retro = compute_retro(canary_store, Window(start_ms=0, end_ms=WEEK.length_ms), now_ms=NOW_MS)
    text = export_retro(retro, Wording(redactor=redactor)).markdown
    assert "### Nothing recurs that is worth a change" in text


def test_text_of_others_stays_text(canary_store: Store, redactor: Redactor):
    made = export_table(canary_store, "experiments", redactor, now_ms=NOW_MS, with_text=True)
    [line] = [line for line in made.markdown.splitlines() if line.startswith("- ")]
    assert re.fullmatch(r"- `[^`\n]*` \(concluded\): [a-z ]+ \([a-z ]+\)", line)


def test_metrics_are_told_with_what_is_known():
    rows = [row("metrics", cost_per_session=cost, success_rate=1.0) for cost in (1.0, 2.0, 6.0, None)]
    text = _RENDERERS["metrics"](rows)
    assert "- Cost per session: median 2, mean 3 USD (3 sessions)" in text
    assert "- Sessions without an error or interruption: median 100\u00a0%, mean 100\u00a0% (4 sessions)" in text
    assert "- Tool loops: not known for any session" in text


def test_sessions_are_told_by_agent_and_model():
    rows = [
        row("sessions", agent="codex", model="gpt-5", tokens_in=1000, tokens_out=500, cost_usd=0.25),
        row("sessions", agent="codex", model="gpt-5", tokens_in=500),
        row("sessions", agent="cursor"),
    ]
    assert _RENDERERS["sessions"](rows).splitlines()[2:] == [
        "- codex, gpt-5: 2 sessions, 2 k new tokens, 0.25 USD (1 without a price)",
        "- cursor, model not recorded: 1 session, tokens not known, cost not known",
    ]


def test_an_experiment_tells_decision_grade_and_guardrails():
    common = {"experiment": "e", "state": "Running", "is_evaluated": True, "grade": "randomised",
              "decision": "do_not_ship", "name": "Plans `first`",
              "control_sessions": 40, "treatment_sessions": 38}  # fmt: skip
    primary = common | {"role": "primary", "metric": "CostPerSession", "change": -12.5, "change_low": -20.0}
    guardrail = common | {"role": "guardrail", "metric": "ToolErrorRate", "guardrail_status": "violated",
                          "control_mean": 0.125, "treatment_mean": 0.25}  # fmt: skip
    text = _RENDERERS["experiments"]([row("experiments", **primary), row("experiments", **guardrail)])
    assert text.splitlines()[2:] == [
        "- `Plans 'first'` (running): do not ship (randomised)",
        "  - Cost per session \N{MINUS SIGN}12.5 % (\N{MINUS SIGN}20.0 to unbounded), 40 against 38 sessions",
        "  - Guardrail violated: tool error rate from a mean of 0.125 to 0.25, 40 against 38 sessions",
    ]


def test_a_store_without_experiments_says_so():
    assert "No experiment is in the store." in _RENDERERS["experiments"]([])


def test_a_draft_is_listed_as_not_evaluated():
    draft = row("experiments", experiment="0123456789abcdef0123", state="Draft", is_evaluated=False, role="primary")
    assert _RENDERERS["experiments"]([draft]).splitlines()[2] == "- `name-0123456789` (draft): not evaluated"
