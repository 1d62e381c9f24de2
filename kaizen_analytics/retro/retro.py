"""A retro: what the sessions of a window suggest to change, and what became of earlier suggestions.

    compute_retro    everything, from a store, a window and (for guidance and commits) a repository
    save_retro       keep it, so that the next one can follow up

No model is asked; the same store, window and time give the same retro.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kaizen_analytics import __version__
from kaizen_analytics.display import Displayed, Table
from kaizen_analytics.errors import ConfigError, KaizenError
from kaizen_analytics.experiments.lifecycle import evaluate, get_plan
from kaizen_analytics.git import Repository
from kaizen_analytics.model import Direction, State
from kaizen_analytics.retro.bets import Bet, Choice, choose_bets, collect_bets
from kaizen_analytics.retro.earlier import FormerBet, follow_up, latest_bets
from kaizen_analytics.retro.guidance import read_guidance
from kaizen_analytics.retro.heuristics import Finding, evaluate_heuristic, load_heuristics
from kaizen_analytics.retro.relations import Material, Window, open_relations, read_material
from kaizen_analytics.retro.tally import (
    FORMER_WINDOWS,
    Breakdown,
    RetroQuality,
    Tally,
    compute_breakdown,
    compute_former_tallies,
    compute_quality,
    compute_tally,
)
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import list_former_bets, write_retro

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.model import Experiment
    from kaizen_analytics.retro.heuristics import Threshold
    from kaizen_analytics.store import Store

DAY_MS = 86_400_000
WEEK_DAYS = 7
MEMORY_MS = 28 * DAY_MS
"""How long a bet of a former retro keeps the same bet from being made again."""
GUIDANCE_MEMORY_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentLine:
    """One experiment that runs, or that concluded in the window.

    `estimate`, `low` and `high` are the percent change of the primary metric, None where there is none (an end: where
    the interval is unbounded); `is_lower_better` says which way is good. `note` says why nothing is known.
    """

    id: str
    name: str
    state: str
    metric: str
    verdict: str | None
    sentence: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    is_lower_better: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retro(Displayed):
    """Everything a retro says; a notebook shows its bets as a table, `print` the whole of it.

    `workspace` is None for all workspaces of the store.
    """

    window: Window
    workspace: str | None
    as_of_ms: int
    tally: Tally
    former_tallies: tuple[Tally, ...]
    choice: Choice
    findings: tuple[Finding, ...]
    former_bets: tuple[FormerBet, ...]
    experiments: tuple[ExperimentLine, ...]
    breakdown: Breakdown
    quality: RetroQuality
    provenance: Mapping[str, str | int | None]

    @property
    def id(self) -> str:
        """One id for each window and scope."""
        scope = hashlib.sha256((self.workspace or "").encode()).hexdigest()[:8] if self.workspace else "all"
        return f"retro-{_day(self.window.start_ms)}-{_day(self.window.end_ms - 1)}-{scope}"

    @property
    def bets(self) -> tuple[Bet, ...]:
        """The bets that this retro makes."""
        return self.choice.made

    @property
    def label(self) -> str:
        """The window in words: an ISO week, or its first and last day."""
        return describe_window(self.window)

    def __repr__(self) -> str:
        """Return the id and what it counts; the whole has thousands of numbers."""
        return f"<Retro {self.id!r}: {self.tally.sessions} sessions, {len(self.bets)} bets>"

    def __str__(self) -> str:
        """Return the whole retro as plain text."""
        from kaizen_analytics.retro.sections import render_text

        return render_text(self)

    def _table(self) -> Table:
        from kaizen_analytics.retro.sections import tabulate

        return tabulate(self)

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object with plain values; a missing number is null."""
        return {
            "schema": "retro/1",
            "id": self.id,
            "label": self.label,
            "workspace": self.workspace,
            "as_of_ms": self.as_of_ms,
            "window": {"start_ms": self.window.start_ms, "end_ms": self.window.end_ms},
            "tally": self.tally.to_json(),
            "former_tallies": [tally.to_json() for tally in self.former_tallies],
            "bets": [bet.to_json() for bet in self.choice.made],
            "further_bets": [bet.to_json() for bet in self.choice.further],
            "repeated_bets": [bet.to_json() for bet in self.choice.repeated],
            "former_bets": [former.to_json() for former in self.former_bets],
            "experiments": [line.to_json() for line in self.experiments],
            "breakdown": self.breakdown.to_json(),
            "heuristics": [_finding_json(finding) for finding in self.findings],
            "quality": self.quality.to_json(),
            "provenance": dict(self.provenance),
        }


def compute_retro(
    store: Store,
    window: Window,
    *,
    now_ms: int,
    workspace: str | None = None,
    thresholds: Mapping[str, Mapping[str, Threshold]] | None = None,
    repository: Path | None = None,
) -> Retro:
    """Look at the sessions of a window and say what to change.

    Args:
        store: An open store; it is only read.
        window: The sessions that started in it count.
        now_ms: The time the retro is made at.
        workspace: Only sessions of this folder and below it; None for all.
        thresholds: Changed thresholds, heuristic id -> name -> value; see `read_thresholds`.
        repository: The root of the repository whose guidance and commits to look at; None leaves both out.

    Raises:
        RepositoryError: git refuses to read the repository.
        QueryError: a heuristic is broken.
    """
    return _compute(store, window, now_ms, workspace, thresholds or {}, repository)


def save_retro(store: Store, retro: Retro) -> None:
    """Keep a retro; one of the same window and scope is replaced."""
    write_retro(
        store,
        retro.to_json(),
        [bet.to_json() for bet in retro.bets],
        retro_id=retro.id,
        workspace=retro.workspace,
        window=(retro.window.start_ms, retro.window.end_ms),
        computed_at_ms=retro.as_of_ms,
    )


def last_days(days: int, now_ms: int) -> Window:
    """Return the last whole days (UTC), today included, so that a second run on the same day has the same window.

    Raises:
        ConfigError: `days` is not positive.
    """
    if days < 1:
        raise ConfigError(f"The window is {days} days long; expected 1 or more.")
    end_ms = (now_ms // DAY_MS + 1) * DAY_MS
    return Window(start_ms=end_ms - days * DAY_MS, end_ms=end_ms)


def parse_week(text: str) -> Window:
    """Return the window of an ISO week such as `2026-W47`, Monday to Sunday in UTC.

    Raises:
        ConfigError: the text is no such week.
    """
    try:
        monday = datetime.strptime(f"{text.upper()}-1", "%G-W%V-%u").replace(tzinfo=UTC)
    except ValueError:
        raise ConfigError(f"The week is {text!r}; expected an ISO week such as 2026-W47.") from None
    start_ms = int(monday.timestamp() * 1000)
    return Window(start_ms=start_ms, end_ms=start_ms + WEEK_DAYS * DAY_MS)


def describe_window(window: Window) -> str:
    """Return a window in words: `week 2026-W47`, or `2026-11-17 to 2026-11-23`."""
    start = datetime.fromtimestamp(window.start_ms / 1000, UTC)
    is_midnight = window.start_ms % DAY_MS == 0
    if is_midnight and start.isoweekday() == 1 and window.length_ms == WEEK_DAYS * DAY_MS:
        return f"week {start.strftime('%G-W%V')}"
    last = datetime.fromtimestamp(window.end_ms / 1000, UTC) - timedelta(milliseconds=1)
    return f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%d")


def _compute(
    store: Store,
    window: Window,
    now_ms: int,
    workspace: str | None,
    thresholds: Mapping[str, Mapping[str, Threshold]],
    repository: Path | None,
) -> Retro:
    lookback_ms = min(window.shifted(-FORMER_WINDOWS).start_ms, window.end_ms - GUIDANCE_MEMORY_MS)
    material = read_material(
        store, window, workspace=workspace, lookback_start_ms=lookback_ms, guidance=read_guidance(repository)
    )
    tally = compute_tally(material.metrics, window)
    findings = _ask(material, window, thresholds)
    candidates = _candidates(material, findings, tally, window)
    stored = list_former_bets(
        store, workspace=workspace, from_ms=window.start_ms - MEMORY_MS, before_ms=window.start_ms
    )
    experiments = list_experiments(store)
    return Retro(
        window=window,
        workspace=workspace,
        as_of_ms=now_ms,
        tally=tally,
        former_tallies=compute_former_tallies(material, window),
        choice=choose_bets(candidates, latest_bets(stored)),
        findings=findings,
        former_bets=follow_up(
            stored,
            candidates=candidates,
            findings=findings,
            experiments=experiments,
            messages=_read_messages(repository, stored[0].window_start_ms) if stored else (),
        ),
        experiments=_experiment_lines(store, experiments, window, now_ms),
        breakdown=compute_breakdown(material.relations, window),
        quality=compute_quality(material.relations),
        provenance=_provenance(store, material, thresholds),
    )


def _ask(material: Material, window: Window, thresholds: Mapping[str, Mapping[str, Threshold]]) -> tuple[Finding, ...]:
    built_in: dict[str, Threshold] = {
        "per_week": WEEK_DAYS * DAY_MS / window.length_ms,
        "window_start_ms": window.start_ms,
        "window_end_ms": window.end_ms,
    }
    with open_relations(material.relations) as reader:
        return tuple(
            evaluate_heuristic(
                heuristic,
                reader,
                material.relations,
                thresholds=thresholds.get(heuristic.id, {}),
                built_in=built_in,
            )
            for heuristic in load_heuristics()
        )


def _candidates(material: Material, findings: tuple[Finding, ...], tally: Tally, window: Window) -> list[Bet]:
    started = material.relations["sessions"].select("id", "started_at_ms").iter_rows()
    per_week = WEEK_DAYS * DAY_MS / window.length_ms
    tokens = None if tally.tokens is None else tally.tokens * per_week
    return collect_bets(findings, started_ms=dict(started), tokens_per_week=tokens)


def _read_messages(root: Path | None, since_ms: int) -> tuple[tuple[str, str], ...]:
    repository = None if root is None else Repository.find(root)
    return () if repository is None else repository.read_messages(since_ms)


def _experiment_lines(
    store: Store, experiments: list[Experiment], window: Window, now_ms: int
) -> tuple[ExperimentLine, ...]:
    shown = [experiment for experiment in experiments if _ran_in(store, experiment, window)]
    return tuple(_experiment_line(store, experiment, now_ms) for experiment in shown)


def _ran_in(store: Store, experiment: Experiment, window: Window) -> bool:
    concluded_ms = experiment.concluded_at_ms
    if experiment.state is not State.RUNNING and (concluded_ms is None or concluded_ms < window.start_ms):
        return False
    plan = get_plan(store, experiment.id)
    # Another tool's experiment has no plan that would tell when it started.
    begun_ms = experiment.created_at_ms if plan is None or plan.started is None else plan.started.started_at_ms
    return begun_ms < window.end_ms


def _experiment_line(store: Store, experiment: Experiment, now_ms: int) -> ExperimentLine:
    line = ExperimentLine(
        id=experiment.id,
        name=experiment.name,
        state=experiment.state.value,
        metric=experiment.metric.value,
        verdict=None,
        sentence="",
    )
    try:
        evaluation = evaluate(store, experiment.id, now_ms=now_ms)
    except KaizenError as error:
        # A retro is no place to fail over one experiment; the line says what is wrong with it.
        return replace(line, sentence=f"Cannot be evaluated: {error}")
    return _with_evaluation(line, evaluation)


def _with_evaluation(line: ExperimentLine, evaluation: Evaluation) -> ExperimentLine:
    percent = evaluation.primary.effect.percent
    ends = () if percent is None else (percent.estimate, percent.low, percent.high)
    estimate, low, high = (*(_finite(value) for value in ends), None, None, None)[:3]
    return replace(
        line,
        verdict=evaluation.verdict.value,
        sentence=f"{evaluation.decision.sentence} {evaluation.judgement}",
        estimate=estimate,
        low=low,
        high=high,
        is_lower_better=evaluation.primary.better is Direction.DECREASE,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None


def _provenance(
    store: Store, material: Material, thresholds: Mapping[str, Mapping[str, Threshold]]
) -> dict[str, str | int | None]:
    sessions = material.relations["sessions"]
    return {
        "store": store.path.name,
        "kaizen_analytics": __version__,
        "sessions_read": sessions.height,
        "events_read": material.relations["events"].height,
        "fingerprint": hashlib.sha256("\n".join(sorted(sessions["id"])).encode()).hexdigest()[:16],
        "thresholds": json.dumps(thresholds, sort_keys=True) if thresholds else "defaults",
    }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.heuristic.id,
        "name": finding.heuristic.name,
        "evaluated": finding.evaluated,
        "missing": list(finding.missing),
        "bets": finding.rows.height,
        "sentence": finding.sentence,
    }
