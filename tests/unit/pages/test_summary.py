"""Results in short: the box of a terminal, the tables of a notebook, the JSON of a command."""

import json
import re
import shlex
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from experiment_cases import make_line
from IPython.core.formatters import DisplayFormatter

from kaizen_analytics.core.model import Absolute, DesignKind, Metric, State
from kaizen_analytics.experiments.evaluation import Role
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.experiments.portfolio import Portfolio
from kaizen_analytics.experiments.power import compute_power
from kaizen_analytics.pages import plans, summary
from kaizen_analytics.pages.documents import evaluation_document, power_document
from kaizen_analytics.pages.portfolio import document as portfolio_document
from kaizen_analytics.pages.summary import (
    _summarise_effect,
    _summarise_evaluation,
    _summarise_portfolio,
    _summarise_power,
    render_box,
)
from kaizen_analytics.stats import median_effect

VALUES = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]
HALVED = [value / 2 for value in VALUES]
RETROSPECTIVE = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1, retrospective=True)
DAY_MS = 86_400_000


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


@pytest.fixture
def box(evaluate) -> str:
    plan = Plan(design=DesignKind.FIXED, started=RETROSPECTIVE)
    return render_box(evaluate(VALUES, HALVED, plan=plan, columns={"total_tokens_per_session": 1.0}))


def test_the_box_fits_the_terminal_and_its_commands_can_be_copied(evaluate):
    evaluation = evaluate(VALUES, HALVED)
    narrow = render_box(evaluation, 60)
    assert {len(line) for line in narrow.partition("\nNext: ")[0].splitlines()} == {60}
    assert max(map(len, narrow.splitlines())) <= 60
    command = narrow.rpartition(":\n  ")[2].replace(" \\\n   ", "")
    assert shlex.split(command) == shlex.split(plans.settle(evaluation))
    assert max(map(len, render_box(evaluation, 200).splitlines())) == 100


def test_the_decision_has_its_colour_on_a_terminal(evaluate):
    coloured = render_box(evaluate(VALUES, HALVED), colour=True)
    assert coloured.splitlines()[1].startswith("│ \x1b[33mDecision   Do not decide yet")
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == render_box(evaluate(VALUES, HALVED))


def test_no_percent_is_separated_from_its_number(box):
    assert not [line for line in box.splitlines() if line.strip("│ ").startswith("%")]


def test_the_table_of_an_evaluation_has_every_metric(evaluate):
    evaluation = evaluate(VALUES, HALVED, name="<script>x</script>", columns={"cost_per_session": 1.0})
    page = _summarise_evaluation(evaluation).html
    assert "&lt;script&gt;x&lt;/script&gt; (e-1, concluded)</h3>" in page
    assert '<dt>Decision</dt><dd dir="auto">Do not decide yet' in page
    known = [result for result in evaluation.results if result.control.n or result.role is not Role.SECONDARY]
    assert page.count("<tr>") == 1 + len(known) > 3
    assert "\N{MINUS SIGN}50.0\N{NO-BREAK SPACE}%" in page


def test_the_table_of_an_effect_has_both_arms_and_both_intervals():
    effect = median_effect(np.arange(5.0, 25), np.arange(8.0, 30))
    lines = _summarise_effect(effect).plain.splitlines()
    assert [line[:18].strip() for line in lines[2:6]] == [
        "control (n = 20)",
        "treatment (n = 22)",
        "difference",
        "percent change",
    ]
    assert lines[-1].startswith("p value 0.")
    assert _summarise_effect(median_effect([], [1.0])).plain.splitlines()[4].split() == ["difference", *["none"] * 3]


PORTFOLIO = Portfolio(
    as_of_ms=0,
    lines=(
        make_line(name="<b>"),
        make_line(id="draft", name="d", state=State.DRAFT, verdict=None, decision=None, percent=None, target_pct=None),
        make_line(id="broken", name="x", verdict=None, decision=None, percent=None, problem="has no plan"),
    ),
    archived=2,
    unreadable=("e9: broken",),
)


def test_the_table_of_a_portfolio_has_a_row_for_each_experiment():
    block = _summarise_portfolio(PORTFOLIO)
    caption, _, *lines = plain(block.plain).splitlines()
    assert [re.split("  +", line) for line in lines[:3]] == [
        ["<b>", "running", "Do not decide yet", "-5.0 %", "-20 %"],
        ["d", "draft", "not started", "none", "none"],
        ["x", "running", "has no plan", "none", "-20 %"],
    ]
    assert caption == "3 experiments as of 1970-01-01T00:00:00Z"


@pytest.mark.slow
@pytest.mark.usefixtures("few_simulations")
def test_the_table_of_power_has_a_row_for_each_size():
    values = np.exp(np.linspace(-2, 2, 60)) * 1000
    history = pl.DataFrame({"tokens_per_session": values, "started_at_ms": np.arange(60) * 3_600_000 + DAY_MS})
    options = {"now_ms": 10 * DAY_MS, "days": 10, "target_pct": -20.0}
    table = compute_power(history, Metric.TOKENS_PER_SESSION, **options)
    caption, _, row, *_ = plain(_summarise_power(table).plain).splitlines()
    assert caption.startswith("Tokens per session: deciding on a change of -20 % (level 5 %, planned design)")
    assert row.split("  ")[0] == "-10 %"
    assert row.endswith("not beyond the target")
    document = json.loads(json.dumps(power_document(table)))
    assert document["rows"][0]["n_per_arm"] is None
    assert set(document["rows"][0]) == {
        *("true_pct", "probability", "low", "high", "n_per_arm", "days", "n_low", "n_high"),
    }
    assert document["window"]["start"] == "1970-01-01T00:00:00Z"


# JSON.


def test_the_json_of_an_evaluation_has_the_documented_keys_and_only_finite_numbers(evaluate):
    plan = Plan(design=DesignKind.PLANNED, planned_n=10_000)
    document = evaluation_document(evaluate(VALUES * 5, HALVED * 5, plan=plan))
    assert {
        "experiment_id", "name", "state", "metric", "criterion", "window", "arms", "difference", "percent", "alpha",
        "design", "verdict", "guardrails", "excluded", "quality", "provenance", "judgement", "decision", "next_actions",
    } <= set(document)  # fmt: skip
    assert set(document["arms"]["control"]) == {"n", "n_missing", "median", "mean"}
    assert document["difference"]["low"] is None
    assert document["design"] == "planned"
    assert document["decision"]["sentence"].startswith("Do not decide yet: ")
    json.dumps(document, allow_nan=False)


def test_the_json_says_why_something_is_missing(evaluate):
    empty = evaluation_document(evaluate([], []))
    assert empty["primary"]["effect"]["insufficient"].startswith("There is no control session")
    zero = evaluation_document(evaluate([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0]))
    assert zero["primary"]["effect"]["percent_undefined"].startswith("The control's value is zero")
    assert (zero["verdict"], zero["percent"], zero["difference"]["estimate"]) == ("percent_undefined", None, 4.0)
    absolute = evaluate(VALUES, HALVED, success_criterion=Absolute(90.0))
    assert evaluation_document(absolute)["criterion"] == {"Absolute": {"metric_value": 90.0}}


def test_the_json_of_a_portfolio():
    document = json.loads(json.dumps(portfolio_document(PORTFOLIO).data, allow_nan=False))
    assert document["lines"][0]["headline"] == "undecided"
    assert document["lines"][0]["decision"] == ("Do not decide yet: the success metric may or may not have improved.")
    assert document["lines"][1]["decision"] is None
    assert document["attention"] == {"left_open": [], "running_out": [], "underpowered": []}


# Notebooks.


def test_a_result_at_the_end_of_a_cell_is_a_table(evaluate, monkeypatch):
    formatter = DisplayFormatter()
    shell = SimpleNamespace(display_formatter=formatter)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    summary.register()
    evaluation = evaluate(VALUES, HALVED)
    for result in (median_effect(VALUES, HALVED), evaluation, PORTFOLIO):
        data, metadata = formatter.format(result)
        assert "<table>" in data["text/html"]
        assert data["text/markdown"].startswith(("**", "### "))
        assert data["text/plain"] == summary.render_text(result)
        assert metadata == {"kaizen": True}
    assert summary.render_text(evaluation) == render_box(evaluation)
    assert repr(evaluation) == "<Evaluation of 'e-1': met, undecided>"


def test_without_a_shell_nothing_is_registered(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    summary.register()
    monkeypatch.delitem(sys.modules, "IPython")
    summary.register()
