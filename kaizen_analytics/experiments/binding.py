"""Which arm of an experiment a session belongs to, with the reason when it belongs to none.

Pure decisions over what was read beforehand: tags, values in payloads, and how commits relate to the two commits
(or branch tips) that `start` froze. Nothing here asks git or the store, so every rule can be tested on one line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kaizen_analytics.model import Branch, Classification, GitCommit, ManualTag, PromptFingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.experiments.plan import Start
    from kaizen_analytics.git import Ancestry
    from kaizen_analytics.model import Binding


class Reason(StrEnum):
    """Why a session is in no arm; the text is what reports count."""

    TAGGED = "tagged Excluded"
    OUTSIDE_WORKSPACES = "tagged, but outside the planned workspaces"
    FOREIGN_ROWS = "events written by another tool"
    NOT_TAGGED = "not tagged"
    CONFLICTING_VALUES = "conflicting values"
    UNKNOWN_VALUE = "unknown value"
    NO_FINGERPRINT = "no prompt fingerprint"
    OTHER_FINGERPRINT = "other prompt fingerprint"
    OTHER_BRANCH = "other branch"
    BOTH_BRANCHES = "on both branches"
    NO_REPOSITORY = "no branch recorded and no repository to ask"
    NO_COMMIT = "no commit"
    UNKNOWN_COMMIT = "unknown commit"
    SHALLOW_CLONE = "shallow clone"
    BETWEEN = "between"
    UNRELATED = "unrelated"
    AFTER_PLANNED_END = "after the planned end"


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
    start_commit: str | None = None
    prompt_fingerprint: str | None = None
    is_dirty: bool = False
    is_inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was read for all candidates together.

    `tags` are manual tags, `values` the distinct values of a `ManualTag` field per session, `ancestry` how each
    known commit relates to the frozen commits, `outside` tagged sessions beyond the planned workspaces, `foreign`
    sessions with events that another tool wrote.
    """

    tags: Mapping[str, Classification] = field(default_factory=lambda: MappingProxyType({}))
    values: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    ancestry: Mapping[str, Ancestry] = field(default_factory=lambda: MappingProxyType({}))
    is_shallow: bool = False
    outside: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """The arm of one session; `reason` is set exactly when it is Excluded."""

    classification: Classification
    reason: Reason | None = None
    flags: tuple[Flag, ...] = ()


CONTROL = Assignment(classification=Classification.CONTROL)
TREATMENT = Assignment(classification=Classification.TREATMENT)

_ARM_OF_VALUE = {"a": CONTROL, "control": CONTROL, "b": TREATMENT, "treatment": TREATMENT}


def assign(candidate: Candidate, binding: Binding, start: Start, evidence: Evidence) -> Assignment:
    """Return the arm of one session: broken data first, then a manual tag, then the binding's own rule."""
    decided = _assign_tagged(candidate.session_id, evidence) or _assign_bound(candidate, binding, start, evidence)
    if decided.reason is not None:
        return decided
    marks = ((Flag.DIRTY, candidate.is_dirty), (Flag.INFERRED, candidate.is_inferred))
    flags = (*decided.flags, *(flag for flag, is_set in marks if is_set))
    return Assignment(classification=decided.classification, flags=flags)


def assign_commit(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> Assignment:
    """Return the arm of a session that started on a commit S; "A before B" includes A = B.

    The first row that matches: treatment before S is Treatment; S before control is Control; S between the two is
    Excluded; control before S is Control on a side branch; anything else is Excluded as unrelated. The last two
    rest on a relation that is missing, which a shallow clone cannot prove.
    """
    if treatment in relation.descendant_of:
        return TREATMENT
    if control in relation.ancestor_of:
        return CONTROL
    if control in relation.descendant_of and treatment in relation.ancestor_of:
        return _excluded(Reason.BETWEEN)
    if is_shallow:
        return _excluded(Reason.SHALLOW_CLONE)
    if control in relation.descendant_of:
        return Assignment(classification=Classification.CONTROL, flags=(Flag.SIDE_BRANCH,))
    return _excluded(Reason.UNRELATED)


def assign_tips(relation: Ancestry, control: str, treatment: str, *, is_shallow: bool = False) -> Assignment:
    """Return the arm of a session without a recorded branch, from its commit and the frozen branch tips.

    A commit is on a branch when the tip contains it, or else when it grew from that tip. A commit on both branches
    belongs to neither arm.
    """
    if is_shallow:
        return _excluded(Reason.SHALLOW_CLONE)
    arms = (relation.ancestor_of or relation.descendant_of) & {control, treatment}
    if len(arms) == 2 or (arms and control == treatment):
        return _excluded(Reason.BOTH_BRANCHES)
    if not arms:
        return _excluded(Reason.UNRELATED)
    return TREATMENT if treatment in arms else CONTROL


def assign_values(values: frozenset[str]) -> Assignment:
    """Return the arm that the values of a `ManualTag` field name: A or control, B or treatment."""
    if not values:
        return _excluded(Reason.NOT_TAGGED)
    arms = [_ARM_OF_VALUE.get(value.strip().lower()) for value in values]
    if any(arm is None for arm in arms):
        return _excluded(Reason.UNKNOWN_VALUE if len(arms) == 1 else Reason.CONFLICTING_VALUES)
    first = arms[0]
    return first if first is not None and all(arm is first for arm in arms) else _excluded(Reason.CONFLICTING_VALUES)


def commits_of(candidates: Sequence[Candidate], binding: Binding) -> list[str]:
    """Return the start commits whose ancestry the binding needs."""
    needed = (
        candidate.start_commit
        for candidate in candidates
        if candidate.start_commit
        and (isinstance(binding, GitCommit) or (isinstance(binding, Branch) and not candidate.branch))
    )
    return sorted(set(needed))


def candidate_of(row: Mapping[str, Any]) -> Candidate:
    """Return the candidate in one row of `sql/staging/candidates.sql`."""
    return Candidate(
        session_id=row["session_id"],
        branch=row["branch"],
        start_commit=row["start_commit"],
        prompt_fingerprint=row["prompt_fingerprint"],
        is_dirty=row["dirty_start"] == 1,
        is_inferred=row["repo_binding_source"] == "inferred",
    )


def _assign_tagged(session_id: str, evidence: Evidence) -> Assignment | None:
    if session_id in evidence.foreign:
        return _excluded(Reason.FOREIGN_ROWS)
    tag = evidence.tags.get(session_id)
    if tag is None:
        return None
    if session_id in evidence.outside:
        return _excluded(Reason.OUTSIDE_WORKSPACES)
    if tag is Classification.EXCLUDED:
        return _excluded(Reason.TAGGED)
    return Assignment(classification=tag)


def _assign_bound(candidate: Candidate, binding: Binding, start: Start, evidence: Evidence) -> Assignment:
    if isinstance(binding, ManualTag):
        return assign_values(evidence.values.get(candidate.session_id, frozenset()))
    if isinstance(binding, PromptFingerprint):
        return _assign_fingerprint(candidate.prompt_fingerprint, binding)
    if isinstance(binding, Branch) and candidate.branch:
        return _assign_branch(candidate.branch, binding)
    return _assign_ancestry(candidate, binding, start, evidence)


def _assign_fingerprint(fingerprint: str | None, binding: PromptFingerprint) -> Assignment:
    if not fingerprint:
        return _excluded(Reason.NO_FINGERPRINT)
    if fingerprint == binding.control_fingerprint:
        return CONTROL
    if fingerprint == binding.treatment_fingerprint:
        return TREATMENT
    return _excluded(Reason.OTHER_FINGERPRINT)


def _assign_branch(branch: str, binding: Branch) -> Assignment:
    name = branch.removeprefix("refs/heads/")
    if name == binding.control_branch.removeprefix("refs/heads/"):
        return CONTROL
    if name == binding.treatment_branch.removeprefix("refs/heads/"):
        return TREATMENT
    return _excluded(Reason.OTHER_BRANCH)


def _assign_ancestry(candidate: Candidate, binding: Binding, start: Start, evidence: Evidence) -> Assignment:
    if start.control_ref is None or start.treatment_ref is None:
        return _excluded(Reason.NO_REPOSITORY)
    if not candidate.start_commit:
        return _excluded(Reason.NO_COMMIT)
    relation = evidence.ancestry.get(candidate.start_commit)
    if relation is None:
        return _excluded(Reason.SHALLOW_CLONE if evidence.is_shallow else Reason.UNKNOWN_COMMIT)
    decide = assign_commit if isinstance(binding, GitCommit) else assign_tips
    return decide(relation, start.control_ref, start.treatment_ref, is_shallow=evidence.is_shallow)


def _excluded(reason: Reason) -> Assignment:
    return Assignment(classification=Classification.EXCLUDED, reason=reason)
