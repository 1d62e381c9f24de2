"""The registry of metrics and the page that documents it."""

from pathlib import Path

from kaizen_analytics.core.metrics import OUTCOMES, REGISTRY, MetricKind
from kaizen_analytics.core.model import Direction, Metric

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_metric_has_one_definition() -> None:
    assert set(REGISTRY) == set(Metric)
    assert all(metric is definition.metric for metric, definition in REGISTRY.items())


def test_what_is_yes_or_no_is_a_proportion() -> None:
    proportions = [metric for metric, item in REGISTRY.items() if item.kind is MetricKind.PROPORTION]
    assert proportions == [
        Metric.SUCCESS_RATE,
        Metric.CHECKS_PASSED,
        Metric.LANDED,
        Metric.REVERTED,
        Metric.FINDING_RATE,
    ]


def test_outcomes_are_the_metrics_that_need_the_command_outcomes() -> None:
    assert {metric for metric, item in REGISTRY.items() if "'outcomes'" in item.null_when} <= OUTCOMES
    assert {metric for metric in Metric if metric.value.endswith(("Commit", "Line", "Passed", "Landed"))} <= OUTCOMES


def test_the_page_says_what_the_registry_says() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    for metric, item in REGISTRY.items():
        better = "lower" if item.better is Direction.DECREASE else "higher"
        row = f"| `{metric.column}` | {item.unit} | {better} | {item.kind} | {item.definition} | {item.null_when} |"
        assert row in page
