"""Which arm of an experiment a session belongs to, with the reason when it belongs to none.

Pure decisions over what was read beforehand: tags, values in payloads, and how commits relate to the two commits
(or branch tips) that `start` froze. Nothing here asks git or the store, so every rule can be tested on one line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.model import Branch, Classification, GitCommit, ManualTag, PromptFingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.core.git import Ancestry
    from kaizen_analytics.core.model import Binding
    from kaizen_analytics.experiments.plan import Start


class Exclusion(StrEnum):
    """Why a session is in no arm; the text is what reports count."""

    TAGGED = "tagged Excluded"
    OUTSIDE_WORKSPACES = "tagged, but outside the planned workspaces"
    NOT_TAGGED = "not tagged"
    CONFLICTING_VALUES = "conflicting values"
    UNKNOWN_VALUE = "unknown value"
    NO_FINGERPRINT = "no prompt fingerprint"
    OTHER_FINGERPRINT = "other prompt fingerprint"
    OTHER_BRANCH = "other branch"
    MOVED = "moved between the arms' branches"
    BOTH_BRANCHES = "on both branches"
    NO_REPOSITORY = "no branch recorded and no repository to ask"
    NO_COMMIT = "no commit"
    UNKNOWN_COMMIT = "unknown commit"
    SHALLOW_CLONE = "shallow clone"
    BETWEEN = "between"
    UNRELATED = "unrelated"
    PENDING = "pending: its last event is less than an hour old"
    AFTER_PLANNED_END = "after the planned end"
    NOT_DRAWN = "not drawn: no hook ran"
    FIRST_START_UNSEEN = "not drawn: its first start was before the experiment or without the hook"
    NOT_LAUNCHED = "not drawn: started without 'run'"
    LAUNCHED_OTHERWISE = "not drawn: started in another arm than the lot's"
    NO_UNIT = "not drawn: on no branch"
    TEXT_TOO_LONG = "not drawn: the text has more parts than the installed hook"


NOT_DRAWN = frozenset(reason.value for reason in Exclusion if reason.value.startswith("not drawn"))
"""Why a lot was not drawn for a session in scope."""


def not_drawn(reason: str | None) -> Exclusion:
    """Return why a session of a lot takes no part, from the word that its hook recorded; None: no hook ran.

    >>> not_drawn("not_launched").value
    "not drawn: started without 'run'"
    """
    return Exclusion.__members__.get((reason or "").upper(), Exclusion.NOT_DRAWN)


class Flag(StrEnum):
    """What a reader should know about a session that does count."""

    SIDE_BRANCH = "side_branch"
    """On a side branch that forked after the control commit: without the change, but not on its path."""
    DIRTY = "dirty"
    """The working tree had uncommitted changes when the session started."""
    INFERRED = "inferred"
    """The commit was not recorded by the agent but inferred from the repository's history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What binding knows about one session."""

    session_id: str
    branch: str | None = None
    branches: tuple[str, ...] = ()
    start_commit: str | None = None
    prompt_fingerprint: str | None = None
    is_dirty: bool = False
    is_inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What was read for all candidates together.

    `tags` are manual tags, `values` the distinct values of a `ManualTag` field per session, `ancestry` how each
    known commit relates to the frozen commits, and `outside` tagged sessions beyond the planned workspaces. `undrawn`
    says why sessions take no part where arms are drawn by lot; None where they are not.
    """

    tags: Mapping[str, Classification] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    ancestry: Mapping[str, Ancestry] = field(default_factory=lambda: MappingProxyType({}))
    is_shallow: bool = False
    outside: frozenset[str] = frozenset()
    undrawn: Mapping[str, Exclusion] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The arm of one session; `reason` is set exactly when it is Excluded."""

    classification: Classification
    reason: Exclusion | None = None
    flags: tuple[Flag, ...] = ()


_CONTROL = Assignment(classification=Classification.CONTROL)
_TREATMENT = Assignment(classification=Classification.TREATMENT)

_ARM_OF_VALUE = {"a": _CONTROL, "control": _CONTROL, "b": _TREATMENT, "treatment": _TREATMENT}


def assign(candidate: Candidate, binding: Binding, start: Start, evidence: SessionFacts) -> Assignment:
    """Return the arm of one session: broken data first, then a manual tag, then the binding's own rule.

    >>> prompts = PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new")
    >>> candidate = Candidate(session_id="s", prompt_fingerprint="new")
    >>> from kaizen_analytics.experiments.plan import Start
    >>> start = Start(started_at_ms=0, window_start_ms=0, window_end_ms=1)
    >>> assign(candidate, prompts, start, SessionFacts()).classification
    <Classification.TREATMENT: 'Treatment'>
    """
    decided = _assign_tagged(candidate.session_id, evidence) or _assign_bound(candidate, binding, start, evidence)
    if decided.reason is not None:
        return decided
    marks = ((Flag.DIRTY, candidate.is_dirty), (Flag.INFERRED, candidate.is_inferred))
    flags = (*decided.flags, *(flag for flag, is_set in marks if is_set))
    return Assignment(classification=decided.classification, flags=flags)


def _assign_commit(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> Assignment:
    """Return the arm of a session that started on a commit S; "A before B" includes A = B.

    The first row that matches: treatment before S is Treatment; S before control is Control; S between the two is
    Excluded; control before S is Control on a side branch; anything else is Excluded as unrelated. The last two
    rest on a relation that is missing, which a shallow clone cannot prove.
    """
    if treatment in relation.descendant_of:
        return _TREATMENT
    if control in relation.ancestor_of:
        return _CONTROL
    if control in relation.descendant_of and treatment in relation.ancestor_of:
        return _excluded(Exclusion.BETWEEN)
    if is_shallow:
        return _excluded(Exclusion.SHALLOW_CLONE)
    if control in relation.descendant_of:
        return Assignment(classification=Classification.CONTROL, flags=(Flag.SIDE_BRANCH,))
    return _excluded(Exclusion.UNRELATED)


def _assign_tips(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> Assignment:
    """Return the arm of a session without a recorded branch, from its commit and the frozen branch tips.

    A commit is on a branch when the tip contains it, or else when it grew from that tip. A commit on both branches
    belongs to neither arm.
    """
    if is_shallow:
        return _excluded(Exclusion.SHALLOW_CLONE)
    arms = (relation.ancestor_of or relation.descendant_of) & {control, treatment}
    if len(arms) == 2 or (arms and control == treatment):
        return _excluded(Exclusion.BOTH_BRANCHES)
    if not arms:
        return _excluded(Exclusion.UNRELATED)
    return _TREATMENT if treatment in arms else _CONTROL


def _assign_values(values: frozenset[str]) -> Assignment:
    """Return the arm that the values of a `ManualTag` field name: A or control, B or treatment."""
    if not values:
        return _excluded(Exclusion.NOT_TAGGED)
    arms = [_ARM_OF_VALUE.get(value.strip().lower()) for value in values]
    if any(arm is None for arm in arms):
        return _excluded(Exclusion.UNKNOWN_VALUE if len(arms) == 1 else Exclusion.CONFLICTING_VALUES)
    first = arms[0]
    return first if first is not None and all(arm is first for arm in arms) else _excluded(Exclusion.CONFLICTING_VALUES)


def commits_of(candidates: Sequence[Candidate], binding: Binding) -> list[str]:
    """Return the start commits whose ancestry the binding needs.

    >>> commits_of([Candidate(session_id="s", start_commit="0a1b")], GitCommit("0a1b", "2c3d"))
    ['0a1b']
    """
    needed = (
        candidate.start_commit
        for candidate in candidates
        if candidate.start_commit
        and (isinstance(binding, GitCommit) or (isinstance(binding, Branch) and not candidate.branch))
    )
    return sorted(set(needed))


def candidate_of(row: Mapping[str, Any]) -> Candidate:
    """Return the candidate in one row of `sql/staging/candidates.sql`.

    >>> row = {"session_id": "s", "branch": "main", "start_commit": None, "prompt_fingerprint": None, "dirty_start": 1}
    >>> candidate_of({**row, "repo_binding_source": "inferred"}).is_dirty
    True
    """
    return Candidate(
        session_id=row["session_id"],
        branch=row["branch"],
        branches=tuple((row.get("branches") or "").splitlines()),
        start_commit=row["start_commit"],
        prompt_fingerprint=row["prompt_fingerprint"],
        is_dirty=row["dirty_start"] == 1,
        is_inferred=row["repo_binding_source"] == "inferred",
    )


def _assign_tagged(session_id: str, evidence: SessionFacts) -> Assignment | None:
    tag = evidence.tags.get(session_id)
    if tag is None:
        return None
    if session_id in evidence.outside:
        return _excluded(Exclusion.OUTSIDE_WORKSPACES)
    if tag is Classification.EXCLUDED:
        return _excluded(Exclusion.TAGGED)
    return Assignment(classification=tag)


def _assign_bound(candidate: Candidate, binding: Binding, start: Start, evidence: SessionFacts) -> Assignment:
    if evidence.undrawn is not None:
        return _excluded(evidence.undrawn.get(candidate.session_id, Exclusion.NOT_DRAWN))
    if isinstance(binding, ManualTag):
        return _assign_values(evidence.values.get(candidate.session_id, frozenset()))
    if isinstance(binding, PromptFingerprint):
        return _assign_fingerprint(candidate.prompt_fingerprint, binding)
    if isinstance(binding, Branch) and candidate.branch:
        arms = [_assign_branch(branch, binding) for branch in candidate.branches]
        if _CONTROL in arms and _TREATMENT in arms:
            return _excluded(Exclusion.MOVED)
        return _assign_branch(candidate.branch, binding)
    return _assign_ancestry(candidate, binding, start, evidence)


def _assign_fingerprint(fingerprint: str | None, binding: PromptFingerprint) -> Assignment:
    if not fingerprint:
        return _excluded(Exclusion.NO_FINGERPRINT)
    if fingerprint == binding.control_fingerprint:
        return _CONTROL
    if fingerprint == binding.treatment_fingerprint:
        return _TREATMENT
    return _excluded(Exclusion.OTHER_FINGERPRINT)


def _assign_branch(branch: str, binding: Branch) -> Assignment:
    name = branch.removeprefix("refs/heads/")
    if name == binding.control_branch.removeprefix("refs/heads/"):
        return _CONTROL
    if name == binding.treatment_branch.removeprefix("refs/heads/"):
        return _TREATMENT
    return _excluded(Exclusion.OTHER_BRANCH)


def _assign_ancestry(candidate: Candidate, binding: Binding, start: Start, evidence: SessionFacts) -> Assignment:
    if start.control_ref is None or start.treatment_ref is None:
        return _excluded(Exclusion.NO_REPOSITORY)
    if not candidate.start_commit:
        return _excluded(Exclusion.NO_COMMIT)
    relation = evidence.ancestry.get(candidate.start_commit)
    if relation is None:
        return _excluded(Exclusion.SHALLOW_CLONE if evidence.is_shallow else Exclusion.UNKNOWN_COMMIT)
    decide = _assign_commit if isinstance(binding, GitCommit) else _assign_tips
    return decide(relation, start.control_ref, start.treatment_ref, is_shallow=evidence.is_shallow)


def _excluded(reason: Exclusion) -> Assignment:
    return Assignment(classification=Classification.EXCLUDED, reason=reason)
