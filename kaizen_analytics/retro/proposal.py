"""From a finding to the experiment that would prove its change: what `exp new --from-finding` fills in."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import exp, lgamma, log, log1p
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.model import Metric, State
from kaizen_analytics.experiments.assignment import ArmContent
from kaizen_analytics.retro.findings import Finding, fisher_p_value
from kaizen_analytics.retro.followup import experiment_text, names_finding
from kaizen_analytics.stats.sequential import MIN_PLANNED_N
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import find_finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaizen_analytics.store import Store

_DURATION_DAYS = 14
_TARGET_PCT = -20.0
_REMAINS = 0.1
"""The share of the finding's rate that is taken to remain where the change works."""
_POWER, _ALPHA = 0.8, 0.05
_LEAST = 16
"""Sessions per arm that are planned at least: lots fall unevenly, and each arm needs 10 to be judged."""
_MOST = 2_000
"""Sessions per arm beyond which no size is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The experiment that would prove a finding: `options` as `exp new` names them, and what the treatment gets."""

    finding: str
    repository: str
    options: Mapping[str, Any]
    content: ArmContent

    @property
    def note(self) -> str:
        """What else a person should know."""
        return "The sessions of the treatment get its text, by lot; nothing is committed before it is proven."

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of an experiment, those that are None filled in.

        A target and guardrails belong to the proposed metric. A hypothesis of one's own is given the finding's id, by
        which retros follow up.
        """
        chosen = {name: value for name, value in given.items() if value is not None}
        filled = {**given, **self.options, **chosen}
        if filled["metric"] != self.options["metric"] or given["absolute"] is not None:
            filled["target_pct"] = given["target_pct"]
        if filled["metric"] != self.options["metric"]:
            filled["guardrail"], filled["planned_n"] = given["guardrail"], given["planned_n"]
        if not names_finding(filled["hypothesis"], self.finding):
            filled["hypothesis"] = f"{filled['hypothesis']} ({self.finding})".strip()
        return filled


def _size_for_rate(rate: float) -> int | None:
    """Return the sessions per arm at which Fisher's exact test finds that a rate fell to a tenth of it.

    The chance is 80 % or more at this size, two-sided at 5 %. None where 2,000 sessions are not enough.
    """
    largest = MIN_PLANNED_N
    while largest <= _MOST and _power_at(largest, rate) < _POWER:
        largest *= 2
    if largest > _MOST:
        return None
    sizes = range(max(MIN_PLANNED_N, largest // 2), largest + 1)
    return sizes[bisect_left(sizes, _POWER, key=lambda n: _power_at(n, rate))]


def _power_at(n: int, rate: float) -> float:
    """Return the chance that Fisher's exact test tells `n` sessions at a rate from `n` at a tenth of it."""
    chance, seen, hits = 0.0, 0.0, 0
    while seen < 1 - 1e-6 and hits <= n:
        before = _binomial(hits, n, rate)
        # The treatment's hits below which the test rejects.
        kept = bisect_left(range(hits), 1, key=lambda fewer: int(2 * fisher_p_value(hits, n, fewer, n) > _ALPHA))
        chance += before * sum(_binomial(fewer, n, rate * _REMAINS) for fewer in range(kept))
        seen, hits = seen + before, hits + 1
    return chance


def _binomial(hits: int, n: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(hits == n * share)
    ways = lgamma(n + 1) - lgamma(hits + 1) - lgamma(n - hits + 1)
    return exp(ways + hits * log(share) + (n - hits) * log1p(-share))


def open_proposal(store: Store, prefix: str) -> Proposal:
    """Return the experiment that would prove a finding which no experiment of the store is to prove yet.

    Args:
        store: An open store.
        prefix: A finding's id, or the beginning of only one.

    Raises:
        ConfigError: no stored finding begins so, or several do.
        ExperimentError: an experiment names it already; one that is archived does not count. Or it proposes a habit.

    >>> open_proposal(store, "wrong")
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: No stored finding has the id 'wrong'. ...
    """
    stored = find_finding(store, prefix)
    for experiment in list_experiments(store):
        if experiment.state is not State.ARCHIVED and names_finding(experiment_text(experiment), stored.id):
            raise ExperimentError(
                f"The finding {stored.id} already has the experiment {experiment.id}; see 'kaizen-analytics exp show "
                f"{experiment.id}'. Archive it first, or plan another one without --from-finding."
            )
    finding = codec.read(Finding, stored.finding, f"The stored finding {stored.id}")
    if finding.change.habit:
        raise ExperimentError(
            f"The finding {finding.id} proposes a habit of people ({finding.change.habit}), which no lot can give to "
            "sessions. Take it up; the next retros count whether it still happens."
        )
    size = _size_for_rate(finding.sessions / finding.exposed)
    title, change = finding.title.replace("`", ""), finding.change
    return Proposal(
        finding=finding.id,
        repository=finding.repository,
        options={
            "name": title[:80],
            "metric": Metric.FINDING_RATE.column,
            "bind": "manual",
            "hypothesis": f"{title}. {finding.seen.replace('`', '')} ({finding.id})",
            "change": change.line.replace("`", "") or change.merge,
            "target_pct": _TARGET_PCT,
            "duration_days": _DURATION_DAYS,
            "guardrail": ["checks_passed:decrease:5", "cost_per_session:increase:10"],
            "planned_n": None if size is None else max(size, _LEAST),
        },
        content=ArmContent(text=f"{change.line}\n" if change.line else None, settings=change.merge or None),
    )
