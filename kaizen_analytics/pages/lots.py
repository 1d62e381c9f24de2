"""What is said of arms that are drawn by lot: how, who was drawn, who takes no part, and how to take part."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from kaizen_analytics.core.model import Classification
from kaizen_analytics.core.words import counted, format_share
from kaizen_analytics.experiments import binding
from kaizen_analytics.experiments.assignment import PAST_DAYS
from kaizen_analytics.experiments.evaluation import CautionKind
from kaizen_analytics.stats.srm import RatioStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.experiments.assignment import PastUnits
    from kaizen_analytics.experiments.evaluation import Caution
    from kaizen_analytics.experiments.plan import Plan
    from kaizen_analytics.experiments.randomisation import ArmContent, Unit
    from kaizen_analytics.stats import SampleRatio
    from kaizen_analytics.store.assignments import Draw

_ENOUGH_EXPOSURE = 0.95
"""Share of the sessions in scope that a lot should be drawn for."""


def lot(plan: Plan) -> str:
    """Return how the arms are drawn; empty where they are not.

    >>> from kaizen_analytics.experiments.plan import Plan
    >>> lot(Plan())
    ''
    """
    if plan.randomisation is None or plan.control_share is None:
        return ""
    return f"each {plan.randomisation.unit} is drawn by lot, {format_share(plan.control_share)} into control"


def past_units(unit: Unit, found: PastUnits) -> str:
    """Return what there was to draw, so that a unit which holds most of the sessions is seen before the start.

    >>> from kaizen_analytics.experiments.randomisation import Unit
    >>> from kaizen_analytics.experiments.assignment import PastUnits
    >>> past_units(Unit.BRANCH, PastUnits(n_units=30, n_sessions=500, largest=400))
    'The last 30 days had 30 branches to draw: 500 sessions, 400 of them in the largest.'
    """
    text = f"The last {PAST_DAYS} days had {found.n_units:,} {unit.plural if found.n_units != 1 else unit} to draw"
    if found.largest <= 1:
        return f"{text}."
    return f"{text}: {counted(found.n_sessions, 'session')}, {found.largest:,} of them in the largest."


def draws(found: Sequence[Draw]) -> str:
    """Return how many sessions were drawn into which arm, and how many take no part, with the reasons.

    >>> draws([])
    'no session yet'
    """
    arms = Counter(draw.arm for draw in found)
    drawn = arms[Classification.CONTROL] + arms[Classification.TREATMENT]
    units = Counter(draw.unit for draw in found if draw.arm is not None)
    text = "no session yet"
    if drawn:
        text = (
            f"{counted(drawn, 'session')} of {counted(len(units), 'unit')}: {arms[Classification.CONTROL]:,} control, "
            f"{arms[Classification.TREATMENT]:,} treatment"
        )
        largest = max(units.values())
        text += f", {largest:,} of them in the largest unit" if largest > 1 else ""
    reasons = Counter(binding.not_drawn(draw.reason) for draw in found if draw.arm is None)
    left_out = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(reasons.items()))
    return f"{text}; {left_out}" if left_out else text


def content(found: ArmContent) -> str:
    """Return what the sessions of an arm get.

    >>> from kaizen_analytics.experiments.randomisation import ArmContent
    >>> content(ArmContent(file="CLAUDE.md", args=("--model", "haiku")))
    'the file CLAUDE.md; arguments --model haiku'
    """
    parts = [
        f"{len(found.text):,} characters of instructions" if found.text else "",
        f"the file {found.file}" if found.file else "",
        f"arguments {' '.join(found.args)}" if found.args else "",
        f"variables {', '.join(pair.partition('=')[0] for pair in found.env)}" if found.env else "",
        "settings of Claude Code" if found.settings else "",
    ]
    return "; ".join(part for part in parts if part) or "nothing more"


def how_to_take_part(experiment_id: str, contents: Mapping[str, ArmContent]) -> str:
    """Return what a colleague has to do to take part.

    >>> how_to_take_part("e1", {})
    "install the hook once with 'kaizen-analytics hooks install'"
    """
    text = "install the hook once with 'kaizen-analytics hooks install'"
    if any(content.needs_launch for content in contents.values()):
        text += f", and start the agent with 'kaizen-analytics run {experiment_id} -- claude …'"
    return text


def sample_ratio(ratio: SampleRatio) -> str:
    """Return whether the arms' sizes fit the declared split, in units where these were drawn.

    >>> from kaizen_analytics.stats import check_sample_ratio
    >>> sample_ratio(check_sample_ratio(0, 0))
    'No session has been assigned yet.'
    """
    unit, units = ratio.unit, "branches" if ratio.unit == "branch" else f"{ratio.unit}s"
    n = ratio.n_control + ratio.n_treatment
    if not n:
        return f"No {unit} has been assigned yet."
    observed = f"{ratio.n_treatment} of {n} {units} ({format_share(ratio.n_treatment / n)})"
    seen = f"The treatment holds {observed}; {format_share(ratio.expected_share)} were declared"
    if ratio.status is RatioStatus.INVALID:
        return (
            f"{seen}. Chance does not explain that (p = {ratio.p_value:.2g}): find out which {units} are missing "
            "before reading any result."
        )
    if ratio.status is RatioStatus.WARN:
        return f"{seen}. That is unusual (p = {ratio.p_value:.2g}): check how {units} were assigned."
    return f"{seen}. The split is as declared, within chance."


def caution(item: Caution, candidates: int) -> str:
    """Return what a reader should know about the lot; empty where the caution is about something else.

    >>> from kaizen_analytics.experiments.evaluation import Caution
    >>> caution(Caution(kind=CautionKind.NOT_DRAWN, count=1), 100).partition(" (")[0]
    'No lot was drawn for 1 of 100 sessions in scope'
    """
    if item.kind is CautionKind.CONFLICTING_DRAWS:
        return f"{counted(item.count, 'session')} tagged by hand with another arm than the lot's: the lot counts."
    if item.kind is not CautionKind.NOT_DRAWN:
        return ""
    exposure = 1 - item.count / candidates
    consequence = (
        "The reasons are among those of the excluded sessions."
        if exposure >= _ENOUGH_EXPOSURE
        else "Find out why before reading any result: a draw that fails more often in one arm biases it."
    )
    return (
        f"No lot was drawn for {item.count:,} of {counted(candidates, 'session')} in scope (exposure "
        f"{format_share(exposure)}). {consequence}"
    )
