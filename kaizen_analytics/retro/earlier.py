"""What became of the bets that earlier retros made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.retro.bets import Bet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kaizen_analytics.model import Experiment
    from kaizen_analytics.retro.heuristics import Finding
    from kaizen_analytics.store.retros import StoredBet


class Fate(StrEnum):
    """What became of a bet."""

    ACTED_ON = "acted on"
    """An experiment or a commit names its id."""
    OPEN = "open"
    """Its heuristic still finds it."""
    FADED = "faded"
    """Its heuristic no longer finds it, and nobody says that they did anything."""
    UNKNOWN = "unknown"
    """Its heuristic could not be asked this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerBet:
    """A bet of an earlier retro; `occurrences_now` is None where it is no longer found."""

    bet: Bet
    made_in: str
    made_end_ms: int
    fate: Fate
    experiments: tuple[str, ...]
    commits: tuple[str, ...]
    occurrences_now: int | None

    @property
    def sentence(self) -> str:
        """What happened, in words."""
        return f"{_DONE[self.fate]}{self._names()}{self._change()}"

    def to_json(self) -> dict[str, Any]:
        """Return the bet, its fate and what it rests on as plain values."""
        return {
            "id": self.bet.id,
            "title": self.bet.title,
            "made_in": self.made_in,
            "made_end_ms": self.made_end_ms,
            "fate": self.fate.value,
            "experiments": list(self.experiments),
            "commits": list(self.commits),
            "occurrences_before": self.bet.occurrences,
            "occurrences_now": self.occurrences_now,
            "sentence": self.sentence,
        }

    def _names(self) -> str:
        names = [
            *(f"experiment {name}" for name in self.experiments),
            *(f"commit {name[:10]}" for name in self.commits),
        ]
        return f" ({', '.join(names)})" if names else ""

    def _change(self) -> str:
        if self.occurrences_now is None:
            return "." if self.fate in {Fate.FADED, Fate.UNKNOWN} else "; no longer seen."
        return f"; seen {self.bet.occurrences} times then, {self.occurrences_now} times now."


_DONE = {
    Fate.ACTED_ON: "Acted on",
    Fate.OPEN: "Still open",
    Fate.FADED: "No longer seen, though nothing names it",
    Fate.UNKNOWN: "Could not be checked this time",
}


def latest_bets(stored: Iterable[StoredBet]) -> dict[str, Bet]:
    """Return the latest version of each bet, by id; `stored` is ordered oldest first."""
    return {item.bet_id: Bet.from_json(item.bet) for item in stored}


def follow_up(
    stored: Sequence[StoredBet],
    *,
    candidates: Sequence[Bet],
    findings: Iterable[Finding],
    experiments: Iterable[Experiment],
    messages: Iterable[tuple[str, str]],
) -> tuple[FormerBet, ...]:
    """Say what became of each earlier bet.

    Args:
        stored: Bets of earlier retros, oldest first.
        candidates: Everything that the heuristics find now, made or not.
        findings: What each heuristic said, to tell "not found" from "not asked".
        experiments: All experiments of the store; one whose text names a bet's id acts on it.
        messages: (commit id, message) of the commits since the first of these bets.
    """
    latest = {item.bet_id: item for item in stored}
    now = {bet.id: bet.occurrences for bet in candidates}
    asked = {finding.heuristic.id for finding in findings if finding.evaluated}
    texts = ((experiment.id, experiment_text(experiment)) for experiment in experiments)
    named_in_experiments, named_in_commits = find_names(latest, texts), find_names(latest, messages)
    return tuple(
        _follow(item, now, asked, named_in_experiments[item.bet_id], named_in_commits[item.bet_id])
        for item in sorted(latest.values(), key=_by_age)
    )


def find_names(ids: Iterable[str], texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return the keys of the (key, text) pairs that name each id; `H4:go test` does not name `H4:go`."""
    found: dict[str, list[str]] = {name: [] for name in ids}
    if not found:
        return {}
    longest_first = sorted(found, key=len, reverse=True)
    pattern = re.compile(rf"(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
    for key, text in texts:
        for name in dict.fromkeys(pattern.findall(text)):
            found[name].append(key)
    return {name: tuple(keys) for name, keys in found.items()}


def experiment_text(experiment: Experiment) -> str:
    """Return everything that a person wrote about an experiment."""
    return f"{experiment.id}\n{experiment.name}\n{experiment.hypothesis}\n{experiment.change_description}"


def _by_age(item: StoredBet) -> tuple[int, str]:
    return -item.window_end_ms, item.bet_id


def _follow(
    item: StoredBet,
    now: Mapping[str, int],
    asked: set[str],
    experiments: tuple[str, ...],
    commits: tuple[str, ...],
) -> FormerBet:
    bet = Bet.from_json(item.bet)
    return FormerBet(
        bet=bet,
        made_in=item.retro_id,
        made_end_ms=item.window_end_ms,
        fate=_fate(bet, acted=bool(experiments or commits), now=now, asked=asked),
        experiments=experiments,
        commits=commits,
        occurrences_now=now.get(bet.id),
    )


def _fate(bet: Bet, *, acted: bool, now: Mapping[str, int], asked: set[str]) -> Fate:
    if acted:
        return Fate.ACTED_ON
    if bet.id in now:
        return Fate.OPEN
    return Fate.FADED if bet.heuristic in asked else Fate.UNKNOWN
