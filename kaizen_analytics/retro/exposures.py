"""Which sessions of a running experiment show the finding that it is to prove; noted at the end of every `ingest`.

Apart from `proposal`, whose sizing needs the statistics: `ingest` must start without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kaizen_analytics.core import codec
from kaizen_analytics.core.model import Metric, State, Window
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.retro.classes import CLASSES
from kaizen_analytics.retro.findings import Finding, collect_evidence, list_exposures, list_moments
from kaizen_analytics.retro.followup import experiment_text, names_finding
from kaizen_analytics.retro.material import read_material
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import list_findings, write_exposures

if TYPE_CHECKING:
    from kaizen_analytics.store import Store


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
        kind = next(one for one in CLASSES if one.name == finding.kind)
        start_ms = plan.require_start(experiment.id).started_at_ms
        evidence = collect_evidence(read_material(store, Window(start_ms=start_ms, end_ms=now_ms)), [kind])
        hit = set(list_moments(evidence, kind, finding.repository, finding.subject)["root_id"])
        roots = list_exposures(evidence.material, kind, finding.repository)["root_id"]
        write_exposures(store, experiment.id, {root: root in hit for root in roots})
