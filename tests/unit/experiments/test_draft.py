"""What the options of `exp new` mean."""

import pytest

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.metrics import parse_metric
from kaizen_analytics.core.model import (
    Absolute,
    Branch,
    Delta,
    Direction,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
)
from kaizen_analytics.experiments.draft import build_binding, build_criterion, parse_guardrail

TOKENS, SUCCESS = Metric.TOKENS_PER_SESSION, Metric.SUCCESS_RATE
DECREASE, INCREASE = Direction.DECREASE, Direction.INCREASE


@pytest.mark.parametrize("text", ["tokens_per_session", "tokens-per-session", "TokensPerSession", "TOKENSPERSESSION"])
def test_a_metric_has_one_name_in_every_spelling(text: str) -> None:
    assert parse_metric(text) is TOKENS


def test_an_unknown_metric_is_answered_with_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'cost_per_session'"):
        parse_metric("cost_per_sesion")


@pytest.mark.parametrize(
    ("metric", "target_pct", "direction", "expected"),
    [
        (TOKENS, -10.0, None, Delta(direction=DECREASE, target_pct=-10.0)),
        (SUCCESS, 5.0, None, Delta(direction=INCREASE, target_pct=5.0)),
        (TOKENS, 10.0, "increase", Delta(direction=INCREASE, target_pct=10.0)),
        (SUCCESS, 0.0, None, Delta(direction=INCREASE, target_pct=0.0)),
    ],
)
def test_the_direction_defaults_to_the_better_side(
    metric: Metric, target_pct: float, direction: str | None, expected: Delta
) -> None:
    assert build_criterion(metric, target_pct=target_pct, direction=direction) == expected


@pytest.mark.parametrize(
    ("target_pct", "direction", "message"),
    [
        (-10.0, "increase", r"--target-pct -10 asks for a decrease and --direction says increase"),
        (10.0, "decrease", r"--target-pct \+10 asks for an increase and --direction says decrease"),
        (10.0, None, r"\+10 asks for an increase and the better side of tokens_per_session says decrease"),
        (-10.0, "down", r"'down'; expected increase or decrease"),
        (None, None, "either --target-pct or --absolute"),
    ],
)
def test_a_contradiction_names_both_sides(target_pct: float | None, direction: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_criterion(TOKENS, target_pct=target_pct, direction=direction)


def test_an_absolute_criterion_stands_alone() -> None:
    assert build_criterion(TOKENS, absolute=900.0) == Absolute(metric_value=900.0)
    with pytest.raises(ConfigError, match="and not both"):
        build_criterion(TOKENS, absolute=900.0, target_pct=-10.0)
    with pytest.raises(ConfigError, match="belongs to --target-pct"):
        build_criterion(TOKENS, absolute=900.0, direction="decrease")


def test_a_guardrail_has_three_parts() -> None:
    expected = GuardrailSpec(metric=Metric.COST_PER_SESSION, regression_direction=INCREASE, threshold_pct=5.0)
    assert parse_guardrail("cost_per_session:increase:5") == parse_guardrail("CostPerSession:Increase:5%") == expected


@pytest.mark.parametrize(
    "text", ["cost_per_session", "cost_per_session:up:5", "cost:increase:5", "tool_loops:increase:-1", "a:b:c:d"]
)
def test_a_wrong_guardrail_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_guardrail(text)


def test_an_unreadable_tolerance_is_quoted() -> None:
    with pytest.raises(ConfigError, match="tolerates 'nan' percent"):
        parse_guardrail("tool_loops:increase:nan")


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("git", {"control_commit": "a", "treatment_commit": "b"}, GitCommit(control_commit="a", treatment_commit="b")),
        ("branch", {"control_branch": "a", "treatment_branch": "b"}, Branch(control_branch="a", treatment_branch="b")),
        (
            "prompt",
            {"control_fingerprint": "a", "treatment_fingerprint": "b"},
            PromptFingerprint(control_fingerprint="a", treatment_fingerprint="b"),
        ),
        ("manual", {"control_commit": None}, ManualTag(variant_field="arm")),
    ],
)
def test_bindings(kind: str, options: dict[str, str | None], expected: object) -> None:
    assert build_binding(kind, options, "arm") == expected


@pytest.mark.parametrize("reference", ["--upload-pack=x", "-", "--output=/tmp/x", "a b", "a\nb", "a\0b", "\x7f"])
@pytest.mark.parametrize(("kind", "noun"), [("git", "commit"), ("branch", "branch")])
@pytest.mark.parametrize("arm", ["control", "treatment"])
def test_what_looks_like_an_option_is_no_reference(kind: str, noun: str, arm: str, reference: str) -> None:
    options = {f"control_{noun}": "main", f"treatment_{noun}": "short", f"{arm}_{noun}": reference}
    with pytest.raises(ConfigError, match=f"--{arm}-{noun} is .* which no git reference is called"):
        build_binding(kind, options)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("git", {"control_commit": "a"}, "--bind git needs --treatment-commit"),
        ("branch", {}, "needs --control-branch and --treatment-branch"),
        ("manual", {"control_commit": "a"}, "--bind manual does not take --control-commit"),
        (
            "branch",
            {"control_branch": "a", "treatment_branch": "b", "control_commit": "c"},
            "--bind branch does not take --control-commit",
        ),
        ("brunch", {}, "Did you mean 'branch'"),
    ],
)
def test_options_of_another_binding_are_refused(kind: str, options: dict[str, str | None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_binding(kind, options)
