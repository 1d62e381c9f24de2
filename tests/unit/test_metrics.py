"""The registry of metrics and the page that documents it."""

from pathlib import Path

from kaizen_analytics.metrics import REGISTRY, MetricKind, label_metrics
from kaizen_analytics.model import Direction, Metric

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_metric_has_one_definition() -> None:
    assert set(REGISTRY) == set(Metric)
    assert all(metric is definition.metric for metric, definition in REGISTRY.items())


def test_only_success_is_a_proportion() -> None:
    proportions = [metric for metric, item in REGISTRY.items() if item.kind is MetricKind.PROPORTION]
    assert proportions == [Metric.SUCCESS_RATE]


def test_the_page_says_what_the_registry_says() -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    for metric, item in REGISTRY.items():
        better = "lower" if item.better is Direction.DECREASE else "higher"
        row = f"| `{metric.column}` | {item.unit} | {better} | {item.kind} | {item.definition} | {item.null_when} |"
        assert row in page


def test_metrics_are_named_in_words() -> None:
    text = "DurationMinutes rose; SuccessRateByPrompt and CostPerSession did not, NotCostPerSession neither."
    words = "Duration rose; success rate by prompt and cost per session did not, NotCostPerSession neither."
    assert label_metrics(text) == words
