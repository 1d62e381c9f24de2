"""A retro: what the sessions of a window show to be worth changing, and what became of earlier findings.

    read_window      what findings are found in
    collect_evidence every class's moments (`findings`)
    assemble_retro   the findings of the window, what became of earlier ones, the experiments and the totals
    save_retro       keep it, so that the next one can follow up

No model is asked; the same store, window and time give the same retro.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from kaizen_analytics import __version__
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, KaizenError
from kaizen_analytics.core.model import Experiment, Metric, State, Window
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.retro.findings import (
    WEEK_MS,
    Evidence,
    Finding,
    NotEvaluable,
    collect_evidence,
    conceal_secrets,
    judge_evidence,
)
from kaizen_analytics.retro.followup import Followed, follow_up, is_silent
from kaizen_analytics.retro.material import Material, read_material, started_in
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import FormerBet, list_findings, list_former_bets, write_retro

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kaizen_analytics.experiments.decide import Decision
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.stats import Interval
    from kaizen_analytics.store import Store

DAYS = 28
"""The window that findings are looked for in."""
_LONGEST_DAYS = 36_500
_LISTS = ("findings", "followed", "former_bets", "not_evaluable")
_LOOKBACK_MS = 12 * WEEK_MS
"""How far before the window a finding is looked for, to tell what is new and what changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentLine:
    """One experiment that runs, or that concluded in the window; `problem` says why it has no `evaluation`."""

    id: str
    name: str
    state: str
    metric: Metric
    evaluation: Evaluation | None = None
    problem: str | None = None

    @property
    def percent(self) -> Interval | None:
        """The percent change of the primary metric; None where there is none."""
        return None if self.evaluation is None else self.evaluation.percent

    @property
    def decision(self) -> Decision | None:
        """What to do with the change, and how the arms came about; None without an evaluation."""
        return None if self.evaluation is None else self.evaluation.decision

    def to_json(self) -> dict[str, Any]:
        """Return what is known as plain values; an end of an interval without a limit is null."""
        percent, made = codec.plain(self.percent) or {}, self.decision
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "metric": self.metric.value,
            "decision": None if made is None else made.headline,
            "grade": None if made is None else made.grade,
            "exploratory": made is not None and made.exploratory,
            **{end: percent.get(end) for end in ("estimate", "low", "high")},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Totals:
    """What the window's sessions add up to; `cost_usd` is None where no response has a price."""

    sessions: int
    sub_agents: int
    orphans: int
    prompts: int
    responses: int
    unpriced_responses: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Retro:
    """Everything a retro says. `repository` is None for all repositories of the store."""

    window: Window
    timezone: str
    repository: str | None
    as_of_ms: int
    totals: _Totals
    findings: tuple[Finding, ...]
    not_evaluable: tuple[NotEvaluable, ...]
    followed: tuple[Followed, ...]
    former_bets: tuple[FormerBet, ...]
    experiments: tuple[ExperimentLine, ...]
    provenance: Mapping[str, str | int | None]

    @property
    def id(self) -> str:
        """One id for each window and scope."""
        scope = hashlib.sha256(self.repository.encode()).hexdigest()[:8] if self.repository else "all"
        first, last = (_local(at_ms, self.timezone) for at_ms in (self.window.start_ms, self.window.end_ms - 1))
        return f"retro-{first:%Y%m%d}-{last:%Y%m%d}-{scope}"

    @property
    def label(self) -> str:
        """The window in words: an ISO week, or its first and last day."""
        return describe_window(self.window, self.timezone)

    def __repr__(self) -> str:
        """Return the id and what it counts."""
        return f"<Retro {self.id!r}: {self.totals.sessions} sessions, {len(self.findings)} findings>"

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object with plain values; a missing number is null."""
        return {
            "schema": "retro/2",
            "id": self.id,
            "label": self.label,
            "timezone": self.timezone,
            "repository": self.repository,
            "as_of_ms": self.as_of_ms,
            "window": codec.plain(self.window),
            "totals": codec.plain(self.totals),
            **{name: [codec.plain(item) for item in getattr(self, name)] for name in _LISTS},
            "experiments": [line.to_json() for line in self.experiments],
            "provenance": dict(self.provenance),
        }


def compute_retro(
    store: Store,
    window: Window,
    *,
    now_ms: int,
    repository: str | None = None,
    root: Path | None = None,
    timezone: str = "UTC",
) -> Retro:
    """Look at the sessions of a window and say what to change.

    Args:
        store: An open store; it is only read.
        window: The sessions that started in it count.
        now_ms: The time the retro is made at.
        repository: Only sessions of this folder, those below it and its worktrees; None for all.
        root: The repository on this machine, to see which changes were applied; None leaves that out.
        timezone: The zone whose days the window is told in.

    >>> compute_retro(store, parse_week("2026-W38"), now_ms=1_790_000_000_000)
    <Retro 'retro-20260914-20260920-all': 115 sessions, 6 findings>
    """
    evidence = collect_evidence(read_window(store, window, repository=repository))
    return assemble_retro(
        store, evidence, window=window, now_ms=now_ms, repository=repository, root=root, timezone=timezone
    )


def read_window(store: Store, window: Window, *, repository: str | None = None) -> Material:
    """Return the sessions of a window and of the twelve weeks before it.

    >>> read_window(store, parse_week("2026-W38")).sessions.height > 115
    True
    """
    span = Window(start_ms=window.start_ms - _LOOKBACK_MS, end_ms=window.end_ms)
    return read_material(store, span, repository=repository)


def assemble_retro(
    store: Store,
    evidence: Evidence,
    *,
    window: Window,
    now_ms: int,
    repository: str | None = None,
    root: Path | None = None,
    timezone: str = "UTC",
) -> Retro:
    """Return the retro of a window from the evidence of a span that ends with it; see `compute_retro`.

    >>> week = parse_week("2026-W38")
    >>> assemble_retro(store, collect_evidence(read_window(store, week)), window=week, now_ms=week.end_ms).label
    'week 2026-W38'
    """
    judged, missing = judge_evidence(evidence, window)
    findings = tuple(conceal_secrets(judged))
    stored, experiments = list_findings(store), list_experiments(store)
    declined = {item.id: item for item in stored if item.declined_ms is not None}
    followed = follow_up(stored, evidence, window=window, experiments=experiments, root=root, found=findings)
    return Retro(
        window=window,
        timezone=timezone,
        repository=repository,
        as_of_ms=now_ms,
        totals=_add_up(evidence.material, window),
        findings=tuple(item for item in findings if not is_silent(item, declined.get(item.id))),
        not_evaluable=missing,
        followed=followed,
        former_bets=list_former_bets(store, from_ms=window.start_ms - _LOOKBACK_MS, before_ms=window.end_ms),
        experiments=tuple(_experiment_line(store, one, now_ms) for one in experiments if _ran_in(store, one, window)),
        provenance=_provenance(store, evidence.material),
    )


def save_retro(store: Store, retro: Retro) -> None:
    """Keep a retro and its findings; one of the same window and scope is replaced.

    >>> save_retro(store, compute_retro(store, parse_week("2026-W38"), now_ms=0))  # doctest: +SKIP
    """
    write_retro(
        store,
        retro.to_json(),
        {finding.id: codec.write(finding) for finding in retro.findings},
        retro_id=retro.id,
        workspace=retro.repository,
        window=(retro.window.start_ms, retro.window.end_ms),
        computed_at_ms=retro.as_of_ms,
    )


def choose_window(days: int | None, week: str | None, now_ms: int, timezone: str = "UTC") -> Window:
    """Return the window of the last whole days or of an ISO week; without both, the last 28 days.

    Raises:
        ConfigError: both are given, or one of them makes no sense.

    >>> choose_window(None, None, 28 * 86_400_000)
    Window(start_ms=0, end_ms=2419200000)
    """
    if days is not None and week is not None:
        raise ConfigError(f"The week {week!r} and the last {days} days are two windows; give one of them.")
    if week is not None:
        return parse_week(week, timezone)
    return last_days(DAYS if days is None else days, now_ms, timezone)


def last_days(days: int, now_ms: int, timezone: str = "UTC") -> Window:
    """Return the last whole days of a zone, today left out, so that the windows of consecutive runs tile.

    Raises:
        ConfigError: `days` is not positive, or more than a century.

    >>> last_days(7, now_ms=1_790_553_600_000 + 5) == parse_week("2026-W39")
    True
    """
    if not 1 <= days <= _LONGEST_DAYS:
        raise ConfigError(f"The window is {days} days long; expected 1 to {_LONGEST_DAYS}.")
    today = _local(now_ms, timezone).replace(hour=0, minute=0, second=0, microsecond=0)
    return _between(today - timedelta(days=days), today)


def parse_week(text: str, timezone: str = "UTC") -> Window:
    """Return the window of an ISO week such as `2026-W47`, Monday to Sunday in a zone.

    Raises:
        ConfigError: the text is no such week.

    >>> parse_week("2026-W47").length_ms // 86_400_000
    7
    """
    try:
        monday = datetime.strptime(f"{text.upper()}-1", "%G-W%V-%u").replace(tzinfo=ZoneInfo(timezone))
    except ValueError:
        raise ConfigError(f"The week is {text!r}; expected an ISO week such as 2026-W47.") from None
    return _between(monday, monday + timedelta(days=7))


def describe_window(window: Window, timezone: str = "UTC") -> str:
    """Return a window in words: `week 2026-W47`, or `2026-11-17 to 2026-11-23`.

    >>> describe_window(parse_week("2026-W47")), describe_window(last_days(2, now_ms=3 * 86_400_000))
    ('week 2026-W47', '1970-01-02 to 1970-01-03')
    """
    start, last = (_local(at_ms, timezone) for at_ms in (window.start_ms, window.end_ms - 1))
    week = f"{start:%G-W%V}"
    return f"week {week}" if parse_week(week, timezone) == window else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"


def _local(at_ms: int, timezone: str) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))


def _between(start: datetime, end: datetime) -> Window:
    return Window(start_ms=round(start.timestamp() * 1000), end_ms=round(end.timestamp() * 1000))


def _add_up(material: Material, window: Window) -> _Totals:
    inside = started_in(window)
    sessions = material.sessions.filter(inside)
    responses, prompts = (
        frame.join(sessions.select("session_id"), on="session_id", how="semi")
        for frame in (material.responses, material.prompts)
    )
    unpriced = responses["cost_usd"].null_count()
    roots = sessions["root_id"].n_unique()
    return _Totals(
        sessions=roots,
        sub_agents=sessions.height - roots,
        orphans=material.orphans.filter(inside).height,
        prompts=prompts.height,
        responses=responses.height,
        unpriced_responses=unpriced,
        cost_usd=None if unpriced == responses.height else round(float(responses["cost_usd"].sum()), 6),
    )


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
        id=experiment.id, name=experiment.name, state=experiment.state.value, metric=experiment.metric
    )
    try:
        return replace(line, evaluation=evaluate(store, experiment.id, now_ms=now_ms))
    except KaizenError as error:
        # A retro is no place to fail over one experiment; the line says what is wrong with it.
        return replace(line, problem=str(error))


def _provenance(store: Store, material: Material) -> dict[str, str | int | None]:
    ids = sorted(material.sessions["session_id"])
    return {
        "store": store.path.name,
        "kaizen_analytics": __version__,
        "sessions_read": len(ids),
        "fingerprint": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16],
    }
