"""Experiments as JSON: what kaizen-cli writes is read, what we write it can read, and nothing is lost between."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.codec import read, write
from kaizen_analytics.core.errors import ExperimentError, RecordError
from kaizen_analytics.core.model import (
    Absolute,
    Branch,
    Classification,
    Delta,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
    State,
)

# As kaizen-cli writes it.
KAIZEN = (
    '{"id":"0197","name":"Cut the preamble","hypothesis":"fewer tokens","change_description":"CLAUDE.md, 40 % kürzer",'
    '"metric":"TokensPerSession","binding":{"Branch":{"control_branch":"main","treatment_branch":"short"}},'
    '"duration_days":14,"success_criterion":{"Delta":{"direction":"Decrease","target_pct":-10.0}},"state":"Running",'
    '"created_at_ms":1700000000000,"concluded_at_ms":null,"guardrails":[{"metric":"CostPerSession",'
    '"regression_direction":"Increase","threshold_pct":5.0}]}'
)

texts = st.text(st.characters(codec="utf-8"))
numbers = st.floats(allow_nan=False, allow_infinity=False)
times = st.integers(0, 2**63 - 1)
guardrails = st.builds(
    GuardrailSpec,
    metric=st.sampled_from(Metric),
    regression_direction=st.sampled_from(Direction),
    threshold_pct=numbers,
)
experiments = st.builds(
    Experiment,
    id=texts.filter(bool),
    name=texts,
    hypothesis=texts,
    change_description=texts,
    metric=st.sampled_from(Metric),
    binding=st.builds(ManualTag, texts)
    | st.sampled_from([GitCommit, Branch, PromptFingerprint]).flatmap(lambda kind: st.builds(kind, texts, texts)),
    duration_days=st.integers(0, 10_000),
    success_criterion=st.one_of(st.builds(Delta, st.sampled_from(Direction), numbers), st.builds(Absolute, numbers)),
    state=st.sampled_from(State),
    created_at_ms=times,
    concluded_at_ms=st.none() | times,
    guardrails=st.lists(guardrails, max_size=4),
)  # fmt: skip


def parse(text: str) -> Experiment:
    return read(Experiment, text, "The stored experiment")


def changed(**fields: Any) -> str:
    """Return kaizen-cli's JSON with some fields replaced, or removed where the value is `...`."""
    record = {**json.loads(KAIZEN), **fields}
    return json.dumps({name: value for name, value in record.items() if value is not ...})


# Both ways


def test_kaizens_json_is_read_and_written_to_the_byte():
    experiment = parse(KAIZEN)
    assert write(experiment) == KAIZEN
    assert experiment == Experiment(
        id="0197",
        name="Cut the preamble",
        hypothesis="fewer tokens",
        change_description="CLAUDE.md, 40 % kürzer",
        metric=Metric.TOKENS_PER_SESSION,
        binding=Branch("main", "short"),
        duration_days=14,
        success_criterion=Delta(Direction.DECREASE, -10),
        state=State.RUNNING,
        created_at_ms=1_700_000_000_000,
        guardrails=[GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 5)],
    )


@pytest.mark.parametrize(
    ("field", "value", "encoded"),
    [
        ("binding", GitCommit("a", "b"), {"GitCommit": {"control_commit": "a", "treatment_commit": "b"}}),
        ("binding", Branch("a", "b"), {"Branch": {"control_branch": "a", "treatment_branch": "b"}}),
        (
            "binding",
            PromptFingerprint("a", "b"),
            {"PromptFingerprint": {"control_fingerprint": "a", "treatment_fingerprint": "b"}},
        ),
        ("binding", ManualTag("v"), {"ManualTag": {"variant_field": "v"}}),
        ("success_criterion", Delta(Direction.INCREASE, 2.5), {"Delta": {"direction": "Increase", "target_pct": 2.5}}),
        ("success_criterion", Absolute(0.5), {"Absolute": {"metric_value": 0.5}}),
        ("concluded_at_ms", 7, 7),
        ("guardrails", (), []),
    ],
)  # fmt: skip
def test_each_variant_has_its_encoding(field: str, value: object, encoded: object):
    experiment = replace(parse(KAIZEN), **{field: value})
    assert json.loads(write(experiment))[field] == encoded
    assert parse(changed(**{field: encoded})) == experiment


@given(experiments)
def test_any_experiment_survives_its_json(experiment: Experiment):
    text = write(experiment)
    assert parse(text) == experiment
    assert write(parse(text)) == text


@pytest.mark.parametrize("guardrails", [..., None, []])
def test_guardrails_may_be_absent(guardrails: object):
    experiment = parse(changed(guardrails=guardrails))
    assert experiment.guardrails == ()
    assert json.loads(write(experiment))["guardrails"] == []


def test_the_time_of_conclusion_may_be_absent():
    assert parse(changed(concluded_at_ms=...)).concluded_at_ms is None


# Unknown fields

unknown_fields = st.dictionaries(
    st.text(st.sampled_from("xyz"), min_size=1, max_size=3), st.integers() | st.none(), max_size=2
)


@given(unknown_fields, unknown_fields, unknown_fields, unknown_fields)
def test_unknown_fields_survive_at_every_depth(
    top: dict[str, Any], binding: dict[str, Any], criterion: dict[str, Any], guardrail: dict[str, Any]
):
    record = {**json.loads(KAIZEN), **top}
    record["binding"]["Branch"].update(binding)
    record["success_criterion"]["Delta"].update(criterion)
    record["guardrails"][0].update(guardrail)
    experiment = parse(json.dumps(record))
    assert json.loads(write(experiment)) == record
    assert json.loads(write(experiment.with_state(State.CONCLUDED, 5)))["binding"] == record["binding"]


def test_unknown_fields_go_with_what_they_belonged_to():
    record = json.loads(KAIZEN)
    record["binding"]["Branch"]["depth"] = 1
    record["guardrails"][0]["severity"] = "high"
    experiment = replace(
        parse(json.dumps(record)),
        binding=ManualTag("v"),
        guardrails=[GuardrailSpec(Metric.TOOL_LOOPS, Direction.INCREASE, 1)],
    )
    written = json.loads(write(experiment))
    assert written["binding"] == {"ManualTag": {"variant_field": "v"}}
    assert written["guardrails"] == [{"metric": "ToolLoops", "regression_direction": "Increase", "threshold_pct": 1.0}]


# What cannot be read


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5_000, "not valid JSON"),
        ("null", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ("{}", "id is missing"),
        (KAIZEN.replace("-10.0", "NaN"), "NaN is not a JSON number"),
        (KAIZEN.replace("-10.0", "-1e999"), "success_criterion.target_pct is -inf; expected a finite number"),
        (changed(name=...), "name is missing"),
        (changed(id=""), "non-empty id"),
        (changed(id=5), "id is 5; expected text"),
        (changed(metric="TokenPerSession"), r"metric is 'TokenPerSession'.*Did you mean 'TokensPerSession'\?"),
        (changed(state="running"), "state is 'running'; expected one of Draft, Running"),
        (changed(created_at_ms="now"), "created_at_ms is 'now'; expected a whole number"),
        (changed(created_at_ms=True), "created_at_ms is True"),
        (changed(created_at_ms=1.5), "created_at_ms is 1.5"),
        (changed(duration_days=-1), "duration_days is -1"),
        (changed(concluded_at_ms="x"), "concluded_at_ms is 'x'"),
        (changed(binding="main"), "binding is 'main'"),
        (changed(binding={}), "expected an object with one of GitCommit, Branch"),
        (changed(binding={"Branch": {}, "ManualTag": {}}), "expected an object with one of GitCommit, Branch"),
        (changed(binding={"Tag": {}}), "binding is {'Tag': {}}; expected an object with one of"),
        (changed(binding={"Branch": {"control_branch": "a"}}), "binding.treatment_branch is missing"),
        (changed(binding={"ManualTag": {"variant_field": 1}}), "variant_field is 1"),
        (changed(success_criterion={"Delta": {"direction": "Down", "target_pct": 1}}), "direction is 'Down'"),
        (changed(success_criterion={"Delta": {"direction": "Decrease"}}), "success_criterion.target_pct is missing"),
        (changed(success_criterion={"Absolute": {"metric_value": "1"}}), "metric_value is '1'"),
        (changed(success_criterion={"Absolute": {"metric_value": True}}), "metric_value is True"),
        (changed(success_criterion={"Ratio": {}}), "expected an object with one of Delta, Absolute"),
        (changed(guardrails={}), "guardrails is {}; expected a list"),
        (changed(guardrails=["x"]), r"guardrails\[0\] is 'x'"),
        (changed(guardrails=[{"metric": "Vibes"}]), r"guardrails\[0\].metric is 'Vibes'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_that_says_why(text: str, match: str):
    with pytest.raises(RecordError, match=match):
        parse(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(KAIZEN))), json_values)
def test_no_value_in_any_field_raises_anything_but_a_record_error(field: str, value: object):
    try:
        experiment = parse(changed(**{field: value}))
    except RecordError:
        return
    assert parse(write(experiment)) == experiment


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, "5", None, True])
def test_a_number_that_is_none_is_refused_when_it_is_given(value: Any):
    with pytest.raises(ExperimentError, match="expected a finite number"):
        Delta(Direction.DECREASE, value)
    with pytest.raises(ExperimentError, match="expected a finite number"):
        Absolute(value)
    with pytest.raises(ExperimentError, match="expected a finite number"):
        GuardrailSpec(Metric.TOOL_LOOPS, Direction.INCREASE, value)


# The types themselves


def test_an_experiment_is_immutable_and_its_copies_are_not_linked():
    experiment = parse(KAIZEN)
    with pytest.raises(FrozenInstanceError):
        experiment.name = "x"
    concluded = experiment.with_state(State.CONCLUDED, 9)
    assert (concluded.state, concluded.concluded_at_ms) == (State.CONCLUDED, 9)
    assert (experiment.state, experiment.concluded_at_ms) == (State.RUNNING, None)
    assert concluded.with_state(State.ARCHIVED, 10).concluded_at_ms == 9


def test_kaizens_names_are_the_values_and_python_names_are_upper_case():
    assert [metric.value for metric in Metric][:8] == [
        "TokensPerSession",
        "CostPerSession",
        "SuccessRate",
        "ToolLoops",
        "DurationMinutes",
        "FilesPerSession",
        "SuccessRateByPrompt",
        "CostByPrompt",
    ]
    assert list(State) == ["Draft", "Running", "Concluded", "Archived"]
    assert list(Direction) == ["Increase", "Decrease"]
    assert list(Classification) == ["Control", "Treatment", "Excluded"]
    assert Metric.TOKENS_PER_SESSION.column == "tokens_per_session"
