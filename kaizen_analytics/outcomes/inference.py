"""Commits that a transcript does not tell, as where a person made them by hand.

A commit is a session's if it lies on the session's branch, was made in its time by the user of the repository, touches
one of its files, and fits no other session.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from kaizen_analytics.core.git import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWork:
    """When and where a session worked; times in milliseconds since the Unix epoch, both ends included."""

    session_id: str
    branch: str | None
    started_at_ms: int
    ended_at_ms: int
    workspace: str
    paths: tuple[str, ...]

    def list_files(self, root: str) -> frozenset[str]:
        """Return the files that the session touched, relative to the root of the repository.

        >>> work = SessionWork(session_id="s", branch=None, started_at_ms=0, ended_at_ms=1, workspace="/r/app",
        ...     paths=("a.py", "/r/b.py", "/tmp/x"))
        >>> sorted(work.list_files("/r"))
        ['app/a.py', 'b.py']
        """
        whole = (PurePosixPath(self.workspace) / path for path in self.paths)
        return frozenset(str(path.relative_to(root)) for path in whole if path.is_relative_to(root))


def infer_commits(
    repository: Repository, work: Iterable[SessionWork], *, known: Collection[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Return the commits of each session, oldest first; a session without one has no entry.

    Args:
        repository: The repository of the sessions.
        work: The sessions whose transcripts tell no commit.
        known: Commit ids, full or abbreviated, that transcripts give to sessions.

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
