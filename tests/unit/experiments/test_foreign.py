"""Runs from elsewhere: result files that the tools themselves wrote, and comparisons against scipy and statsmodels.

`results/promptfoo.json` is of promptfoo 0.121 (provider echo), `results/inspect_*.eval` of inspect-ai 0.3.285 (model
mockllm), `results/claude_plugin_eval.json` of Claude Code 2.1.332 against a local stand-in for its API.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from statsmodels.stats import proportion
from statsmodels.stats.contingency_tables import mcnemar

from kaizen_analytics.core.errors import ConfigError, RecordError
from kaizen_analytics.experiments.decide import Grade, GuardrailStatus, Headline, Verdict
from kaizen_analytics.experiments.foreign import _open_inspect, judge_runs, parse_results
from kaizen_analytics.experiments.plan import Statistic
from kaizen_analytics.stats import EffectKind

RESULTS = Path(__file__).parent / "results"


def read(name: str) -> pl.DataFrame:
    return parse_results(name, (RESULTS / name).read_bytes())


def table(control, treatment, *, tasks: bool = True, repeats: int = 1, **columns) -> pl.DataFrame:
    """Return runs of the arms old and new; the values of an arm go through the tasks `repeats` times."""
    rows = [
        {"arm": arm, "task": place % (len(values) // repeats), "value": value}
        for arm, values in (("old", control), ("new", treatment))
        for place, value in enumerate(values)
    ]
    frame = pl.DataFrame(rows).with_columns(**{name: pl.Series(values) for name, values in columns.items()})
    return frame if tasks else frame.drop("task")


def effect_of(frame: pl.DataFrame, **options):
    return judge_runs(frame, metric="value", direction="decrease", **options).effect


# Result files.


def test_promptfoo_runs_are_prompts_on_the_same_variables():
    runs = read("promptfoo.json")
    assert runs.height == 12
    assert runs.group_by("prompt").agg(pl.col("score").sum()).sort("prompt").rows() == [("long", 4.0), ("short", 4.0)]
    assert runs["task"].n_unique() == 3  # each was repeated
    assert runs["fruit"].null_count() == 4
    found = judge_runs(runs)
    assert (found.arm, found.arms, found.metric, found.paired_tasks) == ("prompt", ("long", "short"), "score", 3)


def test_inspect_logs_are_arms_by_the_name_of_their_task():
    runs = pl.concat([read("inspect_long.eval"), read("inspect_short.eval")])
    assert runs.group_by("eval").agg(pl.col("score").mean()).sort("eval").rows() == [
        ("sums_long", pytest.approx(0.5)),
        ("sums_short", pytest.approx(5 / 6)),
    ]
    found = judge_runs(runs, metric="tokens", target="5%")
    assert (found.arms, found.paired_tasks) == (("sums_long", "sums_short"), 6)
    assert (found.effect.difference.estimate, found.judgement.verdict) == (-20.0, Verdict.MET)


def test_an_inspect_log_in_json_has_the_runs_of_the_archive():
    header, samples = _open_inspect((RESULTS / "inspect_long.eval").read_bytes())
    log = json.dumps({"version": 2, "eval": header, "samples": samples}).encode()
    assert parse_results("log.json", log).equals(read("inspect_long.eval"))


def test_claude_plugin_eval_runs_are_cases_with_and_without_the_plugin():
    found = judge_runs(read("claude_plugin_eval.json"), metric="cost_usd")
    assert (found.arms, found.paired_tasks) == (("without", "with"), 3)
    whole = json.loads((RESULTS / "claude_plugin_eval.json").read_text())
    assert found.effect.control.n + found.effect.treatment.n == 12
    total = 6 * (found.effect.control.mean + found.effect.treatment.mean)
    assert total == pytest.approx(whole["costUsd"], rel=1e-6)


def test_tables_of_every_kind_are_read_alike(tmp_path: Path):
    frame = table([3.0, 2.0], [1.0, 2.0])
    frame.write_parquet(tmp_path / "t.parquet")
    files = {
        "t.parquet": (tmp_path / "t.parquet").read_bytes(),
        "t.csv": frame.write_csv().encode(),
        "t.jsonl": frame.write_ndjson().encode(),
        "t.json": json.dumps(frame.to_dicts()).encode(),
    }
    assert all(parse_results(name, data).equals(frame) for name, data in files.items())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b""),
        ("a.parquet", b"PAR1 and no more"),
        ("a.jsonl", b"{"),
        ("a.json", b"{"),
        ("a.json", b"3"),
        ("a.json", b'{"other": []}'),
        ("a.json", b'{"results": {"results": [{"prompt": {}}]}}'),
        ("a.json", b'{"results": {"results": [3]}}'),
        ("a.json", b'{"cases": [{"name": "x", "arms": {"with": [{"score": "high"}]}}]}'),
        ("a.json", b'{"eval": {}, "samples": [{}]}'),
        ("a.json", b"[1, 2]"),
        ("a.eval", b"no archive"),
        ("a.xlsx", b""),
        ("a", b""),
    ],
)
def test_a_bad_file_is_a_clear_error(name: str, data: bytes):
    with pytest.raises(RecordError, match=r"expected|cannot be read"):
        parse_results(name, data)


def test_a_damaged_archive_is_a_clear_error():
    whole = (RESULTS / "inspect_long.eval").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    for data in (whole[:5000], bytes(damaged)):
        with pytest.raises(RecordError, match="cannot be read"):
            parse_results("a.eval", data)


# Statistics.


@pytest.mark.parametrize("repeats", [1, 3])
def test_pairs_are_compared_as_the_paired_t_test_compares_the_means_of_tasks(repeats: int):
    rng = np.random.default_rng(1)
    level = np.tile(rng.lognormal(3, 1, 25), repeats)
    control, treatment = (factor * level * rng.lognormal(0, 0.2, level.size) for factor in (1.0, 0.9))
    found = effect_of(table(control, treatment, repeats=repeats))
    by_task = [values.reshape(repeats, 25).mean(axis=0) for values in (control, treatment)]
    wanted = stats.ttest_rel(by_task[1], by_task[0])
    assert found.kind is EffectKind.MEAN
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.p_value == pytest.approx(wanted.pvalue)


def test_pairs_of_successes_are_compared_as_mcnemar_compares_them():
    rng = np.random.default_rng(2)
    control = (rng.random(80) < 0.6).astype(float)
    treatment = np.where(rng.random(80) < 0.7, control, rng.random(80) < 0.8).astype(float)
    found = effect_of(table(control, treatment))
    counts = [[((control == a) & (treatment == b)).sum() for b in (1, 0)] for a in (1, 0)]
    assert found.kind is EffectKind.PROPORTION
    assert found.p_value == pytest.approx(mcnemar(counts, exact=False, correction=False).pvalue, abs=0.02)
    wanted = stats.ttest_rel(treatment, control).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(wanted), abs=0.005)


def test_runs_without_tasks_are_compared_as_two_samples():
    """Symmetric values, which the correction for skewness leaves as Welch's."""
    control, treatment = (
        stats.norm.ppf(np.linspace(0.02, 0.98, 25)) + 9,
        stats.norm.ppf(np.linspace(0.02, 0.98, 40)) + 7,
    )
    found = effect_of(table(control, treatment, tasks=False), statistic=Statistic.MEAN)
    wanted = stats.ttest_ind(treatment, control, equal_var=False)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.p_value == pytest.approx(wanted.pvalue)
    median = effect_of(table(control, treatment, tasks=False))
    draws = stats.bootstrap((treatment, control), lambda a, b, axis: np.median(a, axis) - np.median(b, axis),
                            method="percentile", n_resamples=9_999, rng=np.random.default_rng(3))  # fmt: skip
    assert median.kind is EffectKind.MEDIAN
    assert (median.difference.low, median.difference.high) == pytest.approx(tuple(draws.confidence_interval), abs=0.1)


def test_successes_without_tasks_have_the_intervals_of_statsmodels():
    found = effect_of(table([1.0] * 40 + [0.0] * 10, [True] * 25 + [False] * 25, tasks=False))
    limits = proportion.confint_proportions_2indep(25, 50, 40, 50, method="newcomb", compare="diff")
    ratio = proportion.confint_proportions_2indep(25, 50, 40, 50, method="score", compare="ratio", correction=False)
    assert (found.difference.low, found.difference.high) == pytest.approx(limits)
    assert (found.percent.low, found.percent.high) == pytest.approx(tuple(100 * (end - 1) for end in ratio), abs=0.01)


def test_runs_of_one_unit_resemble_each_other():
    rng = np.random.default_rng(4)
    level = np.repeat(rng.normal(0, 1, 20), 5)
    values = np.exp(3 + level + rng.normal(0, 0.1, 100))
    frame = table(values[:50], values[50:], tasks=False, user=[f"u{place // 5}" for place in range(100)])
    alone, alike = effect_of(frame), effect_of(frame, unit="user")
    assert alike.control.clusters == 10
    assert alike.control.n_effective < 15 < alone.control.n_effective


# Rules.


def test_only_what_the_user_says_makes_a_cause_and_the_rest_is_counted():
    runs = table([10.0, 11.0, 12.0, 9.0, 10.5, 10.0, None], [5.0, 6.0, 6.5, 4.0, 5.5, 5.0, 6.0])
    runs = pl.concat([runs, pl.DataFrame({"arm": ["third"], "task": [0], "value": [1.0]})])
    options = {"metric": "value", "direction": "decrease", "target": "10%", "arms": ("old", "new")}
    seen, drawn = judge_runs(runs, **options), judge_runs(runs, **options, randomised=True)
    assert (seen.decision.headline, seen.decision.grade) == (Headline.BETTER, Grade.CONCURRENT)
    assert (drawn.decision.headline, drawn.judgement.verdict) == (Headline.SHIP, Verdict.MET)
    assert drawn.left_out == {"another arm": 1, "no value": 1, "a task of one arm only": 1}
    assert drawn.paired_tasks == 6


def test_a_guardrail_that_got_worse_forbids_and_a_split_that_was_not_kept_decides_nothing():
    rng = np.random.default_rng(5)
    runs = table(rng.normal(10, 1, 60), rng.normal(5, 1, 60), errors=np.repeat([1.0, 3.0], 60) + rng.random(120))
    options = {"metric": "value", "direction": "decrease", "randomised": True}
    guarded = judge_runs(runs, **options, guardrails=["errors:increase:10"])
    assert guarded.guardrails[0].status is GuardrailStatus.VIOLATED
    assert (guarded.decision.headline, guarded.decision.violated) == (Headline.DO_NOT_SHIP, ("errors",))
    assert judge_runs(runs, **options, split=50).judgement.verdict is Verdict.MET
    assert judge_runs(runs, **options, split=20).judgement.verdict is Verdict.INVALID


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "cots"}, r"--metric is 'cots'; the table has arm, task, cost, note\. Did you mean 'cost'"),
        ({"metric": "note", "direction": "increase"}, "holds 'x'; expected numbers"),
        ({"metric": "task"}, "Say which side of task is better"),
        ({}, "Name a column with --metric; the table has arm"),
        ({"metric": "cost", "arm": "task"}, "The column task has 6 values"),
        ({"metric": "cost", "arms": ("older", None)}, "'older', which no run has; arm is old, new"),
        ({"metric": "cost", "arms": ("old", "old")}, "Both arms are 'old'"),
        ({"metric": "cost", "task": "case"}, "--task is 'case'"),
        ({"metric": "cost", "target": "much"}, "--target is 'much'"),
        ({"metric": "cost", "target": "150%"}, "a fall of at most 100%"),
        ({"metric": "cost", "target": "+10%"}, "contradicts the better side"),
        ({"metric": "cost", "direction": "down"}, "expected increase or decrease"),
        ({"metric": "cost", "guardrails": ["size:increase:5"]}, "--guardrail is 'size'"),
        ({"metric": "cost", "split": 50.0}, "needs --randomised"),
    ],
)
def test_what_cannot_be_meant_is_a_clear_error(options: dict, message: str):
    runs = table([3.0] * 6, [2.0] * 6, note=["x"] * 12).rename({"value": "cost"})
    with pytest.raises(ConfigError, match=message):
        judge_runs(runs, **options)
