"""From a bet to the experiment that would prove it: what `exp new --from-bet` fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import ExperimentError, did_you_mean
from kaizen_analytics.metrics import REGISTRY
from kaizen_analytics.model import Direction, GuardrailSpec, Metric, PromptFingerprint, State
from kaizen_analytics.retro.bets import Bet
from kaizen_analytics.retro.earlier import experiment_text, find_names
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import find_bets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaizen_analytics.store import Store

DURATION_DAYS = 14
_TARGETS = (-50.0, -5.0)
_DEFAULT_TARGET = 10.0
_PROMPT_VARIANTS = "H16"
_FINGERPRINTS = ("control_fingerprint", "treatment_fingerprint")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a bet says about its experiment; `binding` is None where a person must say how to tell the arms apart.

    The hypothesis ends with the bet's id, by which a later retro sees that the bet was acted on.
    """

    bet: Bet
    name: str
    hypothesis: str
    change_description: str
    metric: Metric
    target_pct: float
    duration_days: int
    guardrails: tuple[GuardrailSpec, ...]
    binding: PromptFingerprint | None
    note: str

    def options(self) -> dict[str, Any]:
        """Return what the options of `exp new` would be; those that a person must choose are left out."""
        binding = self.binding
        arms = (None, None) if binding is None else (binding.control_fingerprint, binding.treatment_fingerprint)
        return {
            "name": self.name,
            "metric": self.metric.column,
            "bind": None if binding is None else "prompt",
            "hypothesis": self.hypothesis,
            "change": self.change_description,
            "target_pct": self.target_pct,
            "duration_days": self.duration_days,
            "guardrail": [_render_guardrail(guardrail) for guardrail in self.guardrails],
            **dict(zip(_FINGERPRINTS, arms, strict=True)),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the proposal as plain values."""
        return {
            "bet": self.bet.id,
            "name": self.name,
            "hypothesis": self.hypothesis,
            "change_description": self.change_description,
            "metric": self.metric.value,
            "target_pct": self.target_pct,
            "duration_days": self.duration_days,
            "guardrails": [_render_guardrail(guardrail) for guardrail in self.guardrails],
            "binding": None if self.binding is None else "prompt",
            "note": self.note,
        }


def _render_guardrail(guardrail: GuardrailSpec) -> str:
    return f"{guardrail.metric.column}:{guardrail.regression_direction.lower()}:{guardrail.threshold_pct:g}"


def propose_experiment(store: Store, bet_id: str) -> Proposal:
    """Return the experiment that would prove a bet of a stored retro.

    Args:
        store: An open store.
        bet_id: A bet's id, or the beginning of only one.

    Raises:
        ExperimentError: no stored retro made such a bet, or several begin so.
    """
    return prepare_proposal(find_bet(store, bet_id))


def open_proposal(store: Store, bet_id: str) -> Proposal:
    """Return the experiment that would prove a bet which no experiment of the store is to prove yet.

    Raises:
        ExperimentError: no stored retro made such a bet, several begin so, or an experiment names it already; one
            that is archived does not count.
    """
    proposal = propose_experiment(store, bet_id)
    texts = [(item.id, experiment_text(item)) for item in list_experiments(store) if item.state is not State.ARCHIVED]
    taken = find_names([proposal.bet.id], texts)[proposal.bet.id]
    if taken:
        raise ExperimentError(
            f"The bet {proposal.bet.id} already has the experiment {taken[0]}; see 'kaizen-analytics exp show "
            f"{taken[0]}'. Archive it first, or plan another one without --from-bet.",
        )
    return proposal


def complete_options(proposal: Proposal, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an experiment, those that are None filled in from a bet, with the keys `bet` and `note`.

    A target and guardrails belong to the bet's metric, its fingerprints to its binding: whoever names another metric
    or binding says the rest, too. A hypothesis of one's own is given the bet's id, by which retros follow up.
    """
    options = {**proposal.options(), **{name: value for name, value in given.items() if value is not None}}
    if options["metric"] != proposal.metric.column:
        options |= {name: given[name] for name in ("target_pct", "guardrail")}
    if given["absolute"] is not None:
        options["target_pct"] = given["target_pct"]
    if options["bind"] != "prompt":
        options |= {name: given[name] for name in _FINGERPRINTS}
    if not find_names([proposal.bet.id], [("", options["hypothesis"])])[proposal.bet.id]:
        options["hypothesis"] = f"{options['hypothesis']} ({proposal.bet.id})".strip()
    return {**given, **options, "bet": proposal.bet.id, "note": proposal.note}


def find_bet(store: Store, prefix: str) -> Bet:
    """Return the latest bet with this id, or the only one whose id begins with it.

    Raises:
        ExperimentError: there is none, or there are several.
    """
    found = {item.bet_id: item.bet for item in find_bets(store, prefix)} if prefix else {}
    if prefix in found:
        return Bet.from_json(found[prefix])
    if not found:
        known = sorted({item.bet_id for item in find_bets(store, "")})
        raise ExperimentError(
            f"No stored retro made the bet {prefix!r}.{did_you_mean(prefix, known)} 'kaizen-analytics retro' makes and "
            "stores bets; their ids are in its output.",
        )
    if len(found) > 1:
        raise ExperimentError(f"{prefix!r} is the beginning of several bets: {', '.join(sorted(found))}.")
    return Bet.from_json(next(iter(found.values())))


def prepare_proposal(bet: Bet) -> Proposal:
    """Return the experiment that would prove `bet`."""
    metric = Metric(bet.metric)
    binding = _binding(bet)
    title = bet.title.replace("`", "")
    return Proposal(
        bet=bet,
        name=title[:80],
        hypothesis=f"{title}. {bet.hypothesis.replace('`', '')} ({bet.id})",
        change_description=bet.apply_step.replace("`", ""),
        metric=metric,
        target_pct=_target(bet, metric),
        duration_days=DURATION_DAYS,
        guardrails=_guardrails(metric),
        binding=binding,
        note=(
            "The two fingerprints are those of the bet; choose which one is the treatment."
            if binding
            else "Say how the arms are told apart: --bind git with the commits before and after the change, "
            "--bind branch, or --bind manual with tags."
        ),
    )


def _binding(bet: Bet) -> PromptFingerprint | None:
    if bet.heuristic != _PROMPT_VARIANTS:
        return None
    control, _, treatment = bet.id.partition(":")[2].partition("|")
    return PromptFingerprint(control_fingerprint=control, treatment_fingerprint=treatment)


def _target(bet: Bet, metric: Metric) -> float:
    """Return the percent change to aim at: the expected saving in steps of 5 where the metric counts tokens."""
    if REGISTRY[metric].better is Direction.INCREASE:
        return _DEFAULT_TARGET
    if metric is not Metric.TOKENS_PER_SESSION or bet.share_of_tokens is None:
        return -_DEFAULT_TARGET
    low, high = _TARGETS
    return min(max(-5.0 * round(20 * bet.share_of_tokens), low), high)


def _guardrails(metric: Metric) -> tuple[GuardrailSpec, ...]:
    """Return one guardrail: saving must not cost success, and success must not cost much."""
    if metric is Metric.SUCCESS_RATE:
        spec = (Metric.COST_PER_SESSION, Direction.INCREASE, 10.0)
    else:
        spec = (Metric.SUCCESS_RATE, Direction.DECREASE, 5.0)
    return (GuardrailSpec(metric=spec[0], regression_direction=spec[1], threshold_pct=spec[2]),)
