"""What became of earlier findings: whether a change was tried or applied, and how often the thing was seen since.

`ingest` calls `update_exposures`, and must start without the statistics: nothing here imports them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core import codec
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import Experiment, Metric, State, Window
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.retro.classes import KINDS
from kaizen_analytics.retro.findings import (
    WEEK_MS,
    Evidence,
    Finding,
    collect_evidence,
    fisher_p_value,
    list_exposures,
    list_moments,
)
from kaizen_analytics.retro.material import read_material
from kaizen_analytics.retro.patch import is_applied, marker
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import StoredFinding, list_findings, write_exposures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kaizen_analytics.store import Store


class Standing(StrEnum):
    """How far the change of a finding has come."""

    PROPOSED = "proposed"
    PLANNED = "planned"
    RUNNING = "running"
    DECIDED = "decided"
    APPLIED = "applied"
    DECLINED = "declined"


_OF_STATE = {State.DRAFT: Standing.PLANNED, State.RUNNING: Standing.RUNNING, State.CONCLUDED: Standing.DECIDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """An earlier finding and what was seen since `since_ms`: when its change was applied, or when it was first made.

    `hit` of `exposed` sessions had it since; `expected` is how many would have had it at the rate before, and `p_value`
    the chance of so few at that rate (Fisher's exact test); both are None where no session was exposed.
    `note` names the experiment, the commit or the reason.
    """

    id: str
    kind: str
    repository: str
    title: str
    standing: Standing
    note: str
    since_ms: int
    hit: int
    exposed: int
    former_hit: int
    former_exposed: int
    expected: float | None
    p_value: float | None


def follow_up(
    stored: Sequence[StoredFinding],
    evidence: Evidence,
    *,
    window: Window,
    experiments: Iterable[Experiment],
    root: Path | None,
    found: Sequence[Finding] = (),
) -> tuple[Followed, ...]:
    """Return what became of the findings of earlier retros.

    Args:
        stored: Findings of earlier retros.
        evidence: The moments of a span that ends with the window.
        window: The window of this retro; only findings that were made before its end are followed.
        experiments: All experiments of the store; one whose text names a finding's id is to prove it.
        root: The repository on this machine, in which to look for applied changes.
        found: What this retro finds; those stand on the page already unless something came of them.

    >>> follow_up([], None, window=Window(start_ms=0, end_ms=1), experiments=[], root=None)
    ()
    """
    known = evidence.material.sessions["repository"].unique() if stored else ()
    texts = [(item, experiment_text(item)) for item in experiments if item.state is not State.ARCHIVED]
    again = {item.id for item in found}
    followed = []
    for item in stored:
        finding = codec.read(Finding, item.finding, f"The stored finding {item.id}")
        if finding.repository not in known or item.made_ms > window.end_ms:
            continue
        standing, note, since_ms = _standing(item, finding, texts, root)
        if standing is Standing.PROPOSED and item.id in again:
            continue
        followed.append(_count(finding, evidence, window, standing, note, since_ms))
    return tuple(sorted(followed, key=lambda one: (list(Standing).index(one.standing), one.id)))


def is_silent(finding: Finding, declined: StoredFinding | None) -> bool:
    """Return whether a finding stays off the page: it was declined, and its rate has not doubled since.

    >>> is_silent(None, None)
    False
    """
    if declined is None:
        return False
    then = codec.read(Finding, declined.finding, f"The stored finding {declined.id}")
    return finding.sessions * then.exposed < 2 * then.sessions * finding.exposed


def experiment_text(experiment: Experiment) -> str:
    """Return everything that a person wrote about an experiment.

    >>> from kaizen_analytics.store.experiments import list_experiments
    >>> len(experiment_text(list_experiments(store)[0]).splitlines()) >= 3
    True
    """
    return f"{experiment.id}\n{experiment.name}\n{experiment.hypothesis}\n{experiment.change_description}"


def names_finding(text: str, finding_id: str) -> bool:
    """Return whether a text names a finding by its id.

    >>> names_finding("see wrong-command-3782f8.", "wrong-command-3782f8")
    True
    """
    return re.search(rf"(?<![\w-]){re.escape(finding_id)}(?![\w-])", text) is not None


def _standing(
    item: StoredFinding, finding: Finding, texts: Sequence[tuple[Experiment, str]], root: Path | None
) -> tuple[Standing, str, int]:
    if item.declined_ms is not None:
        return Standing.DECLINED, item.reason or "", item.declined_ms
    applied = _find_applied(finding, root)
    if applied is not None:
        return Standing.APPLIED, *applied
    for experiment, text in texts:
        if names_finding(text, finding.id):
            return _OF_STATE[experiment.state], f"experiment {experiment.id}", item.made_ms
    return Standing.PROPOSED, "", item.made_ms


def _find_applied(finding: Finding, root: Path | None) -> tuple[str, int] | None:
    """Return the commit that applied a change, as a note and its time; None as long as no commit holds it."""
    repository = None if root is None else Repository.find(root)
    if repository is None or str(repository.root) != finding.repository:
        return None
    if not is_applied(finding.change, finding.id, repository.root):
        return None
    text = marker(finding.id) if finding.change.line else f'"{next(iter(json.loads(finding.change.merge)))}"'
    commit = repository.find_addition(text)
    return None if commit is None else (f"commit {commit[0][:10]}", commit[1])


def _count(
    finding: Finding, evidence: Evidence, window: Window, standing: Standing, note: str, since_ms: int
) -> Followed:
    kind = KINDS[finding.kind]
    exposed = list_exposures(evidence.material, kind, finding.repository)
    exposed = exposed.filter(pl.col("root_started_at_ms") < window.end_ms)
    rows = list_moments(evidence, kind, finding.repository, finding.subject)
    hit = exposed.join(rows.select("root_id").unique(), on="root_id", how="semi")
    after = pl.col("root_started_at_ms") >= since_ms
    # What led to a finding lies in the weeks before it was made; after a change, all weeks before it count.
    before = ~after & (pl.col("root_started_at_ms") >= since_ms - 12 * WEEK_MS)
    counts = [frame.filter(part).height for part in (after, before) for frame in (hit, exposed)]
    hits, sessions, former_hits, former = counts
    known = sessions > 0 and former > 0
    return Followed(
        id=finding.id,
        kind=finding.kind,
        repository=finding.repository,
        title=finding.title,
        standing=standing,
        note=note,
        since_ms=since_ms,
        hit=hits,
        exposed=sessions,
        former_hit=former_hits,
        former_exposed=former,
        expected=sessions * former_hits / former if known else None,
        # As many or more of the former sessions were hit: the same table, read from the other side.
        p_value=fisher_p_value(former_hits, former, hits, sessions) if known else None,
    )


def update_exposures(store: Store, *, now_ms: int) -> None:
    """Note which sessions since the start of each running experiment show the finding that it is to prove.

    >>> update_exposures(store, now_ms=0)
    """
    running = [one for one in list_experiments(store) if one.state is State.RUNNING]
    measuring = [one for one in running if one.metric is Metric.FINDING_RATE]
    stored = list_findings(store) if measuring else []
    for experiment in measuring:
        plan = get_plan(store, experiment.id)
        item = next((one for one in stored if names_finding(experiment_text(experiment), one.id)), None)
        if item is None or plan is None:
            # Without a finding every session lacks a value, and the evaluation says so.
            continue
        finding = codec.read(Finding, item.finding, f"The stored finding {item.id}")
        kind = KINDS[finding.kind]
        start_ms = plan.require_start(experiment.id).started_at_ms
        evidence = collect_evidence(read_material(store, Window(start_ms=start_ms, end_ms=now_ms)), [kind])
        hit = set(list_moments(evidence, kind, finding.repository, finding.subject)["root_id"])
        roots = list_exposures(evidence.material, kind, finding.repository)["root_id"]
        write_exposures(store, experiment.id, {root: root in hit for root in roots})
