"""Runs from elsewhere: the results of another tool as a table of one row per run, judged as an experiment is.

Runs of both arms on the same task are compared with the task as a cluster. With one run per task and arm this is the
paired t test of the differences per task. Nothing here reads a store or writes to one.
"""

from __future__ import annotations

import io
import json
import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from kaizen_analytics.core.errors import ConfigError, RecordError, did_you_mean
from kaizen_analytics.core.model import Delta, Direction, GuardrailSpec
from kaizen_analytics.core.words import counted
from kaizen_analytics.experiments.decide import (
    Decision,
    Grade,
    GuardrailStatus,
    Judgement,
    decide,
    judge,
    judge_guardrails,
    opposes,
)
from kaizen_analytics.experiments.draft import parse_direction, split_guardrail
from kaizen_analytics.experiments.plan import Statistic
from kaizen_analytics.stats import (
    RatioStatus,
    check_sample_ratio,
    mean_effect,
    median_effect,
    proportion_effect,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.core.model import Metric
    from kaizen_analytics.stats import Effect

_ARMS = ("arm", "variant", "group", "condition", "prompt", "provider", "model", "eval", "file")
_TASKS = ("task", "case", "test", "question", "sample")
_METRICS = ("score", "passed", "success")
_BASELINES = ("control", "baseline", "without", "before", "old", "a")
_HIGHER = {"score", "pass", "passed", "success", "accuracy", "correct", "reward"}
_LOWER = {"cost", "usd", "tokens", "latency", "seconds", "duration", "time", "ms", "turns", "errors", "steps"}
_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""What the letters of Inspect stand for: correct, partial, incorrect, no answer."""
_MIN_TASKS = 2
"""Tasks that both arms must have run for a paired comparison."""
_ZSTANDARD = 93
_DAMAGE = (pl.exceptions.PolarsError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, OSError)
"""What reading a file of another form, or a damaged one, ends in."""


def parse_results(name: str, data: bytes) -> pl.DataFrame:
    r"""Return the runs in a file, one row for each.

    Args:
        name: Name of the file. Its ending says what it is: a table (CSV, Parquet, JSON lines), the result file of
            promptfoo or of `claude plugin eval` (JSON), or a log of Inspect (.eval or JSON).
        data: The file.

    Raises:
        RecordError: it is no such file, or is damaged.

    >>> parse_results("runs.csv", b"arm,cost\nold,3\nnew,2\n").rows()
    [('old', 3), ('new', 2)]
    """
    suffix, source = PurePath(name).suffix.lower(), io.BytesIO(data)
    try:
        if suffix == ".csv":
            return pl.read_csv(source, infer_schema_length=None)
        if suffix == ".parquet":
            return pl.read_parquet(source)
        if suffix == ".jsonl":
            return pl.read_ndjson(source, infer_schema_length=None)
        if suffix == ".eval":
            rows = list(_inspect_rows(*_open_inspect(data)))
        elif suffix == ".json":
            rows = list(_find_rows(json.loads(data)))
        else:
            raise RecordError(f"{name} ends in {suffix or 'nothing'}; expected .csv, .parquet, .jsonl, .json or .eval.")
        return pl.DataFrame(rows, infer_schema_length=None)
    except _DAMAGE as error:
        told = f"{error!r} is missing" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        raise RecordError(f"{name} cannot be read as a table or as the results of an evaluation: {told}") from error


def _find_rows(found: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - what a file holds
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return iter(found)
    if "cases" in found:
        return _plugin_rows(found)
    if "samples" in found and "eval" in found:
        return _inspect_rows(found["eval"], found["samples"])
    if "results" in found:
        return _promptfoo_rows(found)
    raise ValueError("expected a list of runs, or a result file of promptfoo, Inspect or claude plugin eval")


def _promptfoo_rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row in found["results"]["results"]:
        yield {
            "prompt": row["prompt"].get("label") or row["prompt"]["raw"],
            "provider": row["provider"].get("label") or row["provider"]["id"],
            # a repeated test has an index of its own, but the same variables
            "task": json.dumps([row["testCase"].get("description"), row.get("vars")], sort_keys=True),
            "score": float(row["score"]),
            "passed": float(row["success"]),
            "cost": row.get("cost"),
            "latency_ms": row.get("latencyMs"),
            "tokens": (row.get("tokenUsage") or {}).get("total"),
            **{str(key): float(value) for key, value in (row.get("namedScores") or {}).items()},
        }


def _plugin_rows(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for case in found["cases"]:
        for arm, runs in case["arms"].items():
            for run in runs:
                yield {
                    "arm": arm,
                    "task": case["name"],
                    "score": float(run["score"]),
                    "passed": float(run["passed"]),
                    "cost_usd": run.get("costUsd"),
                    "duration_seconds": run.get("durationSeconds"),
                    "turns": run.get("turns"),
                }


def _inspect_rows(header: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for sample in samples:
        scores = {name: _grade(score["value"]) for name, score in (sample.get("scores") or {}).items()}
        usage = (sample.get("model_usage") or {}).values()
        yield {
            "eval": header["task"],
            "model": header["model"],
            "task": str(sample["id"]),
            "score": next(iter(scores.values()), None),
            **scores,
            "tokens": float(sum(used["total_tokens"] for used in usage)),
            "seconds": sample.get("total_time"),
        }


def _grade(value: Any) -> float | None:  # noqa: ANN401 - a score is a letter, a number, or a structure of them
    if isinstance(value, str):
        return _GRADES.get(value)
    return float(value) if isinstance(value, int | float) else None


def _open_inspect(data: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json")]
        header, *samples = (json.loads(_read_member(archive, name, data)) for name in ["header.json", *names])
    return header["eval"], samples


def _read_member(archive: zipfile.ZipFile, name: str, data: bytes) -> bytes:
    """Return a member of an archive; Python reads Zstandard, in which newer logs are written, only from 3.14 on."""
    import pyarrow as pa

    member = archive.getinfo(name)
    if member.compress_type != _ZSTANDARD:
        return archive.read(member)
    start = member.header_offset
    start += 30 + sum(int.from_bytes(data[start + at : start + at + 2], "little") for at in (26, 28))
    packed = data[start : start + member.compress_size]
    return bytes(pa.decompress(packed, decompressed_size=member.file_size, codec="zstd", asbytes=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignGuardrail:
    """A column that must not get worse, and what happened to it."""

    metric: str
    spec: GuardrailSpec
    effect: Effect
    status: GuardrailStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignResult:
    """What runs from elsewhere show.

    `arms` are the values of the column `arm` for control and treatment. `paired_tasks` counts the tasks that both arms
    ran, None for a comparison without pairs. `left_out` counts the runs that do not count, by reason.
    """

    arm: str
    arms: tuple[str, str]
    metric: str
    criterion: Delta
    effect: Effect
    companion: Effect | None
    judgement: Judgement
    decision: Decision
    guardrails: tuple[ForeignGuardrail, ...]
    paired_tasks: int | None
    left_out: dict[str, int]


def judge_runs(
    frame: pl.DataFrame,
    *,
    metric: str | None = None,
    direction: str | None = None,
    target: str = "0",
    arm: str | None = None,
    arms: tuple[str | None, str | None] = (None, None),
    task: str | None = None,
    unit: str | None = None,
    statistic: Statistic | None = None,
    guardrails: Sequence[str] = (),
    alpha: float = 0.05,
    randomised: bool = False,
    split: float | None = None,
) -> ForeignResult:
    """Judge a table of runs, one row for each.

    Args:
        frame: The runs.
        metric: Column that is judged; None takes one with a usual name, and so for `arm` and `task`.
        direction: `increase` or `decrease`; None goes by the name of the metric.
        target: Percent change in that direction to prove, such as 10%; 0 proves any improvement.
        arm: Column of the arms.
        arms: Its values for control and treatment; None chooses among two.
        task: Column of the tasks, by which runs are paired.
        unit: Column of what was assigned to an arm; runs are not paired then.
        statistic: How quantities are compared; None compares pairs by means and others by medians.
        guardrails: Columns that must not get worse, each as `column:increase:5`.
        alpha: Two-sided level.
        randomised: Whether arms were drawn by lot, and the rule was fixed before the results.
        split: Declared percent of the treatment, for a check of the sample ratio.

    Raises:
        ConfigError: a column or an arm does not exist or cannot be chosen, or a metric is no number.

    >>> rows = [(arm, task, cost + task) for arm, cost in (("old", 9.0), ("new", 6.0)) for task in range(8)]
    >>> found = judge_runs(pl.DataFrame(rows, schema=["arm", "task", "cost"], orient="row"), metric="cost")
    >>> found.arms, found.paired_tasks, found.effect.difference.estimate
    (('old', 'new'), 8, -3.0)
    """
    if split is not None and not (randomised and 0 < split < 100):
        raise ConfigError("--split takes a percent between 0 and 100, and needs --randomised.")
    several = [name for name in _ARMS if name in frame.columns and frame[name].n_unique() > 1]
    pairs = [name for name in several if frame[name].n_unique() == 2]
    arm = _choose_column(frame, "arm", arm, pairs + several)
    metric = _choose_column(frame, "metric", metric, _METRICS)
    names = _choose_arms(frame[arm], arm, arms)
    kept = frame.with_columns(pl.col(arm).cast(pl.String)).filter(pl.col(arm).is_in(names))
    task = next((name for name in _TASKS if name in frame.columns and name != arm), None) if task is None else task
    for option, column in (("task", task), ("unit", unit)):
        if column is not None:
            _choose_column(frame, option, column, ())
    compared = _Compared(kept, arm, names, task, unit, alpha)
    criterion = _read_criterion(metric, direction, target)
    known, runs, is_paired = compared.read(metric)
    effect, companion = compared.compare(metric, statistic)
    is_valid = True
    if split is not None:
        counts = [kept.filter(pl.col(arm) == name).height for name in names]
        is_valid = check_sample_ratio(*counts, expected_share=split / 100).status is not RatioStatus.INVALID
    judgement = judge(effect, criterion, better=criterion.direction, is_valid=is_valid)
    guarded = []
    for text in guardrails:
        name, side, percent = split_guardrail(text)
        _choose_column(frame, "guardrail", name, ())
        guarded.append((GuardrailSpec(cast("Metric", name), side, percent), compared.compare(name, statistic)[0]))
    found = tuple(
        ForeignGuardrail(metric=spec.metric, spec=spec, effect=seen, status=status)
        for (spec, seen), (status, _) in zip(guarded, judge_guardrails(guarded, alpha=alpha), strict=True)
    )
    seen = effect.percent or effect.difference
    rises = None if seen is None or seen.estimate == 0 else seen.estimate > 0
    reasons = {
        "another arm": frame.height - kept.height,
        "no value": kept.height - known.height,
        "a task of one arm only": known.height - runs.height,
    }
    return ForeignResult(
        arm=arm,
        arms=names,
        metric=metric,
        criterion=criterion,
        effect=effect,
        companion=companion,
        judgement=judgement,
        decision=decide(
            judgement.verdict,
            [(item.spec.metric, item.status) for item in found],
            Grade.RANDOMISED if randomised else Grade.CONCURRENT,
            moved=None if rises is None else Direction.INCREASE if rises else Direction.DECREASE,
            opposed=companion is not None and opposes(judgement.verdict, companion, criterion.direction),
        ),
        guardrails=found,
        paired_tasks=runs["cluster"].n_unique() if is_paired else None,
        left_out={reason: count for reason, count in reasons.items() if count},
    )


def _choose_column(frame: pl.DataFrame, option: str, asked: str | None, usual: Sequence[str]) -> str:
    found = next((name for name in usual if name in frame.columns), None) if asked is None else asked
    there = f"the table has {', '.join(frame.columns)}."
    if found is None:
        raise ConfigError(f"Name a column with --{option}; {there}")
    if found not in frame.columns:
        raise ConfigError(f"--{option} is {found!r}; {there}{did_you_mean(found, frame.columns)}")
    return found


def _choose_arms(values: pl.Series, column: str, asked: tuple[str | None, str | None]) -> tuple[str, str]:
    known = values.cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
    for option, arm in zip(("control", "treatment"), asked, strict=True):
        if arm is not None and arm not in known:
            raise ConfigError(f"--{option} is {arm!r}, which no run has; {column} is {', '.join(known[:10])}.")
    if None in asked and len(known) != 2:
        raise ConfigError(
            f"The column {column} has {counted(len(known), 'value')} ({', '.join(known[:10])}); name two with "
            "--control and --treatment, or another column with --arm."
        )
    usual = next((arm for arm in known if arm.lower() in _BASELINES), known[0])
    control = asked[0] or next(arm for arm in (usual, *known) if arm != asked[1])
    treatment = asked[1] or next(arm for arm in known if arm != control)
    if control == treatment:
        raise ConfigError(f"Both arms are {control!r}; expected two.")
    return control, treatment


def _read_criterion(metric: str, direction: str | None, target: str) -> Delta:
    words = set(re.split(r"[^a-z]+", metric.lower()))
    if direction is None and not words & (_LOWER | _HIGHER):
        raise ConfigError(f"Say which side of {metric} is better: --direction increase or --direction decrease.")
    falls = bool(words & _LOWER) if direction is None else parse_direction(direction) is Direction.DECREASE
    try:
        size = float(target.strip().removesuffix("%"))
    except ValueError:
        size = math.nan
    if not abs(size) < math.inf or (falls and abs(size) > 100):
        raise ConfigError(f"--target is {target!r}; expected a percent, such as 10%, and a fall of at most 100%.")
    if target.strip()[:1] in {"+", "-"} and size != 0 and (size < 0) != falls:
        raise ConfigError(f"--target {target} contradicts the better side of {metric}; leave the sign out.")
    return Delta(Direction.DECREASE if falls else Direction.INCREASE, 0.0 - abs(size) if falls else abs(size))


@dataclass(frozen=True, slots=True)
class _Compared:
    """The runs of both arms, compared metric by metric."""

    frame: pl.DataFrame
    arm: str
    names: tuple[str, str]
    task: str | None
    unit: str | None
    alpha: float

    def read(self, metric: str) -> tuple[pl.DataFrame, pl.DataFrame, bool]:
        """Return the runs with a value (arm, cluster, value), those that count, and whether they are compared as pairs.

        Pairs need two tasks, and half of each arm's runs, that both arms ran; no other run counts then.
        """
        cluster = self.unit or self.task
        try:
            value = self.frame[metric].cast(pl.Float64).fill_nan(None)
        except pl.exceptions.PolarsError:
            first = self.frame[metric].drop_nulls()[0]
            raise ConfigError(f"The column {metric} holds {first!r}; expected numbers, or true and false.") from None
        key = pl.lit(None, pl.String) if cluster is None else pl.col(cluster).cast(pl.String)
        known = self.frame.select(arm=self.arm, cluster=key, value=value).drop_nulls("value")
        shared = known.drop_nulls("cluster").filter(pl.col("arm").n_unique().over("cluster") == 2)
        is_paired = (
            self.unit is None
            and self.task is not None
            and shared["cluster"].n_unique() >= _MIN_TASKS
            and all(2 * (shared["arm"] == name).sum() >= (known["arm"] == name).sum() for name in self.names)
        )
        return known, shared if is_paired else known, is_paired

    def compare(self, metric: str, statistic: Statistic | None) -> tuple[Effect, Effect | None]:
        """Return the effect on a metric, and for a quantity that of the other statistic."""
        _, runs, is_paired = self.read(metric)
        arms = [runs.filter(pl.col("arm") == name) for name in self.names]
        values = [arm["value"].to_numpy() for arm in arms]
        keys = [arm["cluster"].fill_null("").to_list() for arm in arms]
        repeated = runs["cluster"].drop_nulls().is_duplicated().any()
        options: dict[str, Any] = {"alpha": self.alpha, "clusters": (keys[0], keys[1]) if repeated else None}
        if runs["value"].is_in([0.0, 1.0]).all():
            return proportion_effect(*values, **options), None
        effects = {Statistic.MEAN: mean_effect(*values, **options), Statistic.MEDIAN: median_effect(*values, **options)}
        wanted = statistic or (Statistic.MEAN if is_paired else Statistic.MEDIAN)
        return effects[wanted], effects[wanted.other]
