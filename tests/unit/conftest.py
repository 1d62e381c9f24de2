"""Evaluations whose pages are tested: one metric, two arms, as many sessions as values."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from experiment_cases import judge_values, make_experiment

from kaizen_analytics.core.model import DesignKind, Direction, GuardrailSpec, Metric, State
from kaizen_analytics.experiments.evaluation import Evaluation
from kaizen_analytics.experiments.plan import Plan, Start

EXPERIMENT = make_experiment(
    id="e-1",
    name="Shorter\ninstructions",
    hypothesis="",
    change_description="",
    state=State.CONCLUDED,
    guardrails=(GuardrailSpec(Metric.TOTAL_TOKENS_PER_SESSION, Direction.INCREASE, 5.0),),
)
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=86_400_000)


@pytest.fixture(scope="module", autouse=True)
def _short_series() -> Iterator[None]:
    """Judge the course of an experiment at four moments instead of forty: that is nine tenths of an evaluation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kaizen_analytics.experiments.assess._SERIES_POINTS", 4)
        yield


@pytest.fixture
def evaluate() -> Callable[..., Evaluation]:
    """Return a function that judges control and treatment values; `plan` and fields of the experiment may differ."""

    def make(
        control: list[float | None],
        treatment: list[float | None],
        *,
        plan: Plan | None = None,
        as_of_ms: int = START.window_end_ms,
        columns: dict[str, object] | None = None,
        assigned: bool = False,
        **fields: object,
    ) -> Evaluation:
        plan = plan or Plan(design=DesignKind.FIXED, started=START)
        return judge_values(
            replace(EXPERIMENT, **fields),
            plan,
            (control, treatment),
            plan.started or START,
            as_of_ms=as_of_ms,
            assigned=assigned,
            columns=[columns or {}],
        )

    return make
