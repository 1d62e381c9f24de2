"""Bets: what the findings of heuristics become, how they are ranked, and which few a retro makes.

Pure functions. The order depends on nothing but the candidates themselves, so the same window gives the same bets.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import QueryError
from kaizen_analytics.retro.heuristics import Basis, Category, Confidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kaizen_analytics.retro.heuristics import Finding

MAX_INVESTIGATIONS = 2
MAX_SMALL = 2
GROWTH = 1.5
"""A bet that was made before is made again once what it counts grew by half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bet:
    """One thing to change, why, and what it may save.

    `id` is stable across weeks. `evidence` are session ids, the latest first; `occurrences` counts what the title
    speaks of. `share_of_tokens` is the saving as a share of the tokens that the window used, None where unknown.
    """

    id: str
    heuristic: str
    name: str
    confidence: Confidence
    category: Category
    effort_minutes: int
    basis: Basis
    metric: str
    title: str
    hypothesis: str
    apply_step: str
    evidence: tuple[str, ...]
    evidence_recency_ms: int | None
    occurrences: int
    tokens_saved_per_week: int
    share_of_tokens: float | None = None

    @property
    def score(self) -> float:
        """Expected saving for each minute of work, weighted by confidence."""
        return self.confidence.weight * self.tokens_saved_per_week / (self.effort_minutes + 1)

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the score as plain values."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "evidence": list(self.evidence),
            "score": round(self.score, 3),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Bet:
        """Read what `to_json` wrote."""
        fields = {name: record[name] for name in cls.__dataclass_fields__}
        return cls(
            **{
                **fields,
                "confidence": Confidence(fields["confidence"]),
                "category": Category(fields["category"]),
                "basis": Basis(fields["basis"]),
                "evidence": tuple(fields["evidence"]),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The bets that a retro makes, those that an earlier retro already made, and the rest in order of rank."""

    made: tuple[Bet, ...]
    repeated: tuple[Bet, ...]
    further: tuple[Bet, ...]


def collect_bets(
    findings: Iterable[Finding],
    *,
    started_ms: Mapping[str, int],
    tokens_per_week: float | None,
) -> list[Bet]:
    """Turn findings into bets, ranked.

    Args:
        findings: What the heuristics said.
        started_ms: When each session of the window started; evidence is listed latest first.
        tokens_per_week: What the window used; no bet can save more. None where no session tells its tokens.

    Raises:
        QueryError: two bets of one heuristic have the same key.
    """
    bets = [
        _bet(finding, row, started_ms, tokens_per_week)
        for finding in findings
        for row in finding.rows.iter_rows(named=True)
    ]
    twice = [name for name, count in Counter(bet.id for bet in bets).items() if count > 1]
    if twice:
        raise QueryError(f"A heuristic gave two bets the id {twice[0]!r}; its bet_key must be unique.")
    return sorted(bets, key=rank)


def rank(bet: Bet) -> tuple[float, int, str]:
    """Return the sort key: best score first, then the latest evidence, then the id."""
    return -bet.score, -(bet.evidence_recency_ms or 0), bet.id


def choose_bets(ranked: Sequence[Bet], former: Mapping[str, Bet]) -> Choice:
    """Pick one high-confidence bet, up to two investigations, up to two quick wins or hygiene.

    At most one bet of each heuristic is made, so that one bad file does not fill the list.

    Args:
        ranked: All candidates, best first.
        former: Bets of earlier retros that still count, by id.
    """
    fresh = [bet for bet in ranked if not _is_repeated(bet, former)]
    made: list[Bet] = []
    _pick(made, fresh, 1, {Confidence.HIGH}, set(Category))
    _pick(made, fresh, MAX_INVESTIGATIONS, {Confidence.HIGH, Confidence.MEDIUM}, {Category.INVESTIGATION})
    _pick(made, fresh, MAX_SMALL, set(Confidence), {Category.QUICK_WIN, Category.HYGIENE})
    chosen = {bet.id for bet in made}
    return Choice(
        made=tuple(made),
        repeated=tuple(bet for bet in ranked if _is_repeated(bet, former)),
        further=tuple(bet for bet in fresh if bet.id not in chosen),
    )


def inflect(text: str) -> str:
    """Return `text` with each "2 session(s)" as "2 sessions" and "1 session(s)" as "1 session"."""
    return re.sub(r"\b(\d[\d,]*) (\w+)\(s\)", lambda m: f"{m[1]} {m[2]}{'' if m[1] == '1' else 's'}", text)


def _is_repeated(bet: Bet, former: Mapping[str, Bet]) -> bool:
    earlier = former.get(bet.id)
    return earlier is not None and bet.occurrences < GROWTH * earlier.occurrences


def _pick(
    made: list[Bet],
    candidates: Sequence[Bet],
    limit: int,
    confidences: set[Confidence],
    categories: set[Category],
) -> None:
    taken = 0
    for bet in candidates:
        if taken == limit:
            return
        fits = bet.confidence in confidences and bet.category in categories
        if fits and bet.heuristic not in {other.heuristic for other in made}:
            made.append(bet)
            taken += 1


def _bet(
    finding: Finding,
    row: Mapping[str, Any],
    started_ms: Mapping[str, int],
    tokens_per_week: float | None,
) -> Bet:
    heuristic = finding.heuristic
    evidence = sorted(set(row["evidence"]), key=lambda session: (-started_ms.get(session, 0), session))
    saved = row["tokens_saved_per_week"]
    if tokens_per_week is not None:
        saved = min(saved, tokens_per_week)
    return Bet(
        id=f"{heuristic.id}:{row['bet_key']}",
        heuristic=heuristic.id,
        name=heuristic.name,
        confidence=heuristic.confidence,
        category=heuristic.category,
        effort_minutes=heuristic.effort_minutes,
        basis=heuristic.basis,
        metric=heuristic.metric.value,
        title=inflect(row["title"]),
        hypothesis=inflect(row["hypothesis"]),
        apply_step=row["apply_step"],
        evidence=tuple(evidence),
        evidence_recency_ms=max((started_ms.get(session, 0) for session in evidence), default=None),
        occurrences=row["occurrences"],
        tokens_saved_per_week=round(saved),
        share_of_tokens=round(saved / tokens_per_week, 4) if tokens_per_week else None,
    )
