"""Results as the JSON that commands and reports print: their numbers, with the sentences filled in.

Every number is finite or null; an unbounded end of an interval is null, and a note says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaizen_analytics.core import codec
from kaizen_analytics.core.words import format_moment
from kaizen_analytics.experiments.evaluation import Evaluation, GuardrailResult, MetricResult, choose_next_step
from kaizen_analytics.pages import effect_text, plans, sentences

if TYPE_CHECKING:
    from kaizen_analytics.core.model import Window
    from kaizen_analytics.experiments.power import PowerTable
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.stats import Effect

_Document = dict[str, Any]


def evaluation_document(evaluation: Evaluation) -> _Document:
    """Return what `exp evaluate --json` prints.

    >>> evaluation_document(evaluation)["decision"]["headline"]
    'undecided'
    """
    record = codec.plain(evaluation)
    del record["delta"]
    experiment, primary = record["experiment"], _result(evaluation.primary)
    return {
        **record,
        "experiment_id": experiment["id"],
        "name": experiment["name"],
        "state": experiment["state"],
        "metric": experiment["metric"],
        "criterion": experiment["success_criterion"],
        "window": _window(evaluation.window),
        "arms": primary["arms"],
        "difference": primary["difference"],
        "percent": primary["percent"],
        "judgement": sentences.judgement(evaluation),
        "decision": {
            "headline": evaluation.decision.headline.value,
            "grade": evaluation.decision.grade,
            "claim": evaluation.decision.claim,
            "exploratory": evaluation.decision.exploratory,
            "design": plans.grade(evaluation.decision),
            "sentence": sentences.decision(evaluation.decision, evaluation.verdict),
            "rule": sentences.RULE,
        },
        "primary": primary,
        "secondary": [_result(result) for result in evaluation.secondary],
        "guardrails": [_guardrail(guardrail) for guardrail in evaluation.guardrails],
        "quality": _quality(evaluation, sentences.warnings(evaluation)),
        "segments": [
            {"dimension": segment.dimension, "value": segment.value, "result": _result(segment.result)}
            for segment in evaluation.segments
        ],
        "history": _history(evaluation),
        "next_step": choose_next_step(evaluation).value,
        "next_actions": sentences.next_actions(evaluation),
        "settle": plans.settle(evaluation),
    }


def power_document(table: PowerTable) -> _Document:
    """Return what `exp power --json` prints.

    >>> power_document(power_table)["sessions"]
    313
    """
    return {**codec.plain(table), "window": _window(table.window), "sentence": sentences.power(table)}


def _history(evaluation: Evaluation) -> _Document | None:
    found = evaluation.history
    if found is None:
        return None
    return {
        **codec.plain(found),
        "percent": codec.plain(found.percent),
        "sentences": [text for _, text in sentences.history(evaluation)],
    }


def retro_document(retro: Retro) -> _Document:
    """Return what `retro --json` prints.

    >>> retro_document(retro)["experiments"][0]["sentence"].partition(":")[0]
    'Do not decide yet'
    """
    lines = [{**line.to_json(), "sentence": sentences.experiment(line)} for line in retro.experiments]
    return {**retro.to_json(), "experiments": lines}


def _window(window: Window) -> _Document:
    return {**codec.plain(window), "start": format_moment(window.start_ms), "end": format_moment(window.end_ms)}


def _result(result: MetricResult) -> _Document:
    return {
        "metric": result.metric.value,
        "label": result.label,
        "unit": result.unit,
        "better": result.better.value,
        "kind": result.kind.value,
        "role": result.role.value,
        "arms": {"control": codec.plain(result.control), "treatment": codec.plain(result.treatment)},
        "difference": codec.plain(result.effect.difference),
        "percent": codec.plain(result.effect.percent),
        "effect": effect_document(result.effect),
        "companion": None if result.companion is None else effect_document(result.companion),
        "sentence": sentences.result(result),
    }


def effect_document(effect: Effect) -> _Document:
    """Return an effect as JSON, with what it says in words.

    >>> from kaizen_analytics.stats import mean_effect
    >>> effect_document(mean_effect([1, 2, 3, 4, 5], [2, 3, 4, 5, 6]))["difference"]["estimate"]
    1.0
    """
    record = codec.plain(effect)
    for name in ("nominal_alpha", "shortage", "design", "split"):
        del record[name]
    for arm in ("control", "treatment"):
        del record[arm]["ties"], record[arm]["largest_share"]
    has_interval = effect.difference is not None
    return {
        **record,
        "insufficient": None if has_interval else effect_text.no_percent(effect),
        "percent_undefined": effect_text.no_percent(effect) if has_interval and effect.percent is None else None,
        "notes": effect_text.notes(effect),
        "sentence": effect_text.effect(effect),
    }


def _guardrail(guardrail: GuardrailResult) -> _Document:
    return {
        **codec.plain(guardrail.spec),
        "status": guardrail.status.value,
        "p_adjusted": guardrail.p_adjusted,
        "percent": codec.plain(guardrail.percent),
        "sentence": sentences.guardrail(guardrail),
        "result": _result(guardrail.result),
    }


def _quality(evaluation: Evaluation, warnings: list[str]) -> _Document:
    record = codec.plain(evaluation.quality)
    del record["cautions"]
    ratio = evaluation.quality.sample_ratio
    if ratio is not None:
        record["sample_ratio"]["sentence"] = plans.sample_ratio(ratio)
    return {**record, "warnings": warnings}
