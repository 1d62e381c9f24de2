"""Which commits landed on the default branch, in which form, and which were reverted. Reads git, changes nothing."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kaizen_analytics.core.git import LoggedCommit, Repository

_REVERTS = re.compile(r"This reverts commit ([0-9a-f]{7,64})(?:, reversing\s+changes made\s+to ([0-9a-f]{7,64}))?")
_REVERTS_REQUEST = re.compile(r"^Reverts \S*#(\d+)\s*$", re.MULTILINE)
_SQUASHED = re.compile(r"\(#(\d+)\)\s*$")
_MERGED = re.compile(r"^Merge pull request #(\d+) ")
_REQUEST = re.compile(r"/(?:pull|merge_requests)/(\d+)\b")
_MARGIN_S = 86_400
"""A rebase may set a commit's time a little before that of its original."""


class Landing(NamedTuple):
    """What became of one commit.

    `landed_as` is the commit of the default branch that holds the change: itself, or a copy by rebase, cherry-pick or
    squash. `landed` is None where the repository cannot say: the commit is gone, or history is cut off.
    """

    commit: str
    landed: bool | None
    landed_as: str | None = None
    reverted: bool | None = None


class DefaultBranch(NamedTuple):
    """The branch that work lands on, with its history, newest commit first."""

    tip: str
    log: tuple[LoggedCommit, ...]


def find_landings(
    repository: Repository, branch: DefaultBranch, commits: Iterable[str], *, requests: Mapping[str, str | None]
) -> dict[str, Landing]:
    """Return what became of each commit; `requests` has the address of the pull request it belongs to, if known.

    The ids may be abbreviated.

    Raises:
        RepositoryError: git cannot read the repository.

    >>> from kaizen_analytics.core.git import Repository
    >>> find_landings(Repository(tmp), DefaultBranch("", ()), [], requests={})
    {}
    """
    asked = tuple(dict.fromkeys(commits))
    if not asked:
        return {}
    full = repository.known_commits(asked)
    on_branch = {entry.commit for entry in branch.log}
    astray = tuple(dict.fromkeys(commit for commit in full.values() if commit not in on_branch))
    copies = _find_copies(repository, branch, astray)
    squashed = _read_requests(branch.log)
    reverted = _find_reverted(repository, branch.log)
    is_whole = not repository.is_shallow()
    found: dict[str, Landing] = {}
    for given in asked:
        commit = full.get(given)
        request = _REQUEST.search(requests.get(given) or "")
        landed_as = (
            commit if commit in on_branch else copies.get(commit or "") or squashed.get(request[1] if request else "")
        )
        known = landed_as is not None or (commit is not None and is_whole)
        found[given] = Landing(
            commit=commit or given,
            landed=landed_as is not None if known else None,
            landed_as=landed_as,
            reverted=bool({landed_as, commit} & reverted) if landed_as else None,
        )
    return found


def _find_copies(repository: Repository, branch: DefaultBranch, astray: Sequence[str]) -> dict[str, str]:
    """Return the commit of the default branch that makes the same change: a rebased, picked or squashed commit."""
    if not astray:
        return {}
    own = repository.read_patch_ids(astray)
    # A squash holds the changes since the branch left: up to this commit, if it was the last one of its branch.
    sides = repository.read_side_history(astray, branch.tip)
    bases = _find_bases(sides, branch)
    whole = repository.read_patch_ids([commit for commit in astray if commit in bases], bases=bases)
    paths = sorted({path for counts in repository.read_line_counts(astray).values() for path in counts})
    since_s = min(repository.read_times(astray)) - _MARGIN_S
    candidates = repository.read_changes_of(branch.tip, paths, since_s) if paths else ()
    there: dict[str, str] = {}
    for commit, patch in repository.read_patch_ids(candidates).items():
        there.setdefault(patch, commit)
    squashes = {commit: there[patch] for commit, patch in whole.items() if patch in there}
    copies = {commit: there[patch] for commit, patch in own.items() if patch in there}
    return _spread(sides, squashes) | squashes | copies


def _find_bases(sides: Mapping[str, Sequence[str]], branch: DefaultBranch) -> dict[str, str]:
    """Return where each commit of a side history left the default branch, as `git merge-base` does."""
    place = {entry.commit: number for number, entry in enumerate(branch.log)}
    left: dict[str, int] = {}
    for commit, parents in reversed([*sides.items()]):
        # the log has children before their parents, so that the first of several is no ancestor of another
        known = [place[one] if one in place else left[one] for one in parents if one in place or one in left]
        if known:
            left[commit] = min(known)
    return {commit: branch.log[number].commit for commit, number in left.items()}


def _spread(sides: Mapping[str, Sequence[str]], squashes: Mapping[str, str]) -> dict[str, str]:
    """Return the squash of the commits that lead to the last commit of a squashed branch."""
    found = dict(squashes)
    for commit, parents in sides.items():
        if commit in found:
            for parent in parents:
                found.setdefault(parent, found[commit])
    return found


def _read_requests(log: Sequence[LoggedCommit]) -> dict[str, str]:
    """Return the commit by which each pull request landed, by the request's number."""
    found: dict[str, str] = {}
    for entry in log:
        subject = entry.message.partition("\n")[0]
        if match := _MERGED.search(subject) or _SQUASHED.search(subject):
            found.setdefault(match[1], entry.commit)
    return found


def _find_reverted(repository: Repository, log: Sequence[LoggedCommit]) -> frozenset[str]:
    """Return the commits that a later commit of the branch reverts, and no later one restores."""
    requests = _read_requests(log)
    named = repository.known_commits(
        commit for entry in log for found in _REVERTS.findall(entry.message) for commit in found if commit
    )
    parents = {entry.commit: entry.parents for entry in log}
    undone: set[str] = set()
    undoes: defaultdict[str, set[str]] = defaultdict(set)
    for entry in reversed(log):
        for target in _targets(entry, requests, named, parents):
            undoes[entry.commit].add(target)
            undone.add(target)
            undone -= undoes.get(target, set())
    return frozenset(undone)


def _targets(
    entry: LoggedCommit,
    requests: Mapping[str, str],
    named: Mapping[str, str],
    parents: Mapping[str, Sequence[str]],
) -> set[str]:
    """Return the commits that one commit reverts; `named` has the full id of every commit that a message names."""
    targets: set[str] = set()
    for commit, base in _REVERTS.findall(entry.message):
        targets |= {named[commit]} if commit in named else set()
        if base in named and commit in named:
            targets |= _ancestors(named[commit], parents) - _ancestors(named[base], parents)
    targets |= {requests[number] for number in _REVERTS_REQUEST.findall(entry.message) if number in requests}
    return targets - {entry.commit}


def _ancestors(commit: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    found, waiting = {commit}, [commit]
    while waiting:
        new = [one for one in parents.get(waiting.pop(), ()) if one not in found]
        found.update(new)
        waiting += new
    return found


class SessionWork(NamedTuple):
    """When and where a session worked; times in milliseconds since the Unix epoch, both ends included."""

    session_id: str
    branch: str | None
    started_at_ms: int
    ended_at_ms: int
    workspace: str
    paths: tuple[str, ...]

    def list_files(self, root: str) -> frozenset[str]:
        """Return the files that the session touched, relative to the root of the repository."""
        whole = (PurePosixPath(self.workspace) / path for path in self.paths)
        return frozenset(str(path.relative_to(root)) for path in whole if path.is_relative_to(root))


def infer_commits(
    repository: Repository, work: Iterable[SessionWork], *, known: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the commits of each session that no transcript tells, as where a person made them by hand, oldest first.

    A commit is a session's if it lies on the session's branch, was made in its time by the user of the repository,
    touches one of its files, and fits no other session.

    A session without one has no entry. `known` are ids, full or abbreviated, that transcripts give to sessions.

    Raises:
        RepositoryError: git cannot read the repository.

    >>> from kaizen_analytics.core.git import Repository
    >>> infer_commits(Repository(tmp), [])
    {}
    """
    by_branch: defaultdict[str | None, list[SessionWork]] = defaultdict(list)
    for one in work:
        by_branch[one.branch].append(one)
    author = repository.read_setting("user.email") if by_branch else None
    if author is None:
        return {}
    root, taken = str(repository.root), tuple(known)
    fitting: defaultdict[tuple[int, str], set[str]] = defaultdict(set)
    for branch, sessions in by_branch.items():
        since_s = min(one.started_at_ms for one in sessions) // 1000
        until_s = max(one.ended_at_ms for one in sessions) // 1000
        for commit, at_s, files in repository.read_authored(branch, author, since_s, until_s):
            if taken and commit.startswith(taken):
                continue
            fitting[at_s, commit] |= {
                one.session_id
                for one in sessions
                if one.started_at_ms // 1000 <= at_s <= one.ended_at_ms // 1000 and files & one.list_files(root)
            }
    found: defaultdict[str, list[str]] = defaultdict(list)
    for (_, commit), fits in sorted(fitting.items()):
        if len(fits) == 1:
            found[fits.pop()].append(commit)
    return {session: tuple(commits) for session, commits in found.items()}
