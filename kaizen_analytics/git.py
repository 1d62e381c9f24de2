"""Read-only questions to a git repository; the only module that starts git.

A repository is untrusted input: its configuration may name programs, and a reference may look like an option.
Every call therefore runs without hooks, file monitors, pagers, prompts, lazy fetches or inherited `GIT_*`
variables, passes references behind `--end-of-options`, and ends after a time-out.
"""

from __future__ import annotations

import os
import re
import subprocess
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.errors import RepositoryError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

TIMEOUT_S = 120.0
"""The walk of a history with a million commits takes about ten seconds."""

_HARDENING = (
    "--no-pager",
    "--no-optional-locks",
    "-c",
    "core.fsmonitor=false",
    "-c",
    f"core.hooksPath={os.devnull}",
    "-c",
    "core.quotePath=false",
    "-c",
    "log.showSignature=false",
    "-c",
    "protocol.allow=never",
)
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
}
_NO_WORKING_TREE = ("not a git repository", "must be run in a work tree")
_COMMIT_ID = re.compile(r"[0-9a-f]{7,64}")
_REFLOG_LINE = re.compile(r"([0-9a-f]{40,64}) .*@\{(\d+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestry:
    """How one commit relates to the target commits; a commit is its own ancestor and its own descendant."""

    ancestor_of: frozenset[str]
    descendant_of: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchHistory:
    """Where one branch pointed over time.

    `moves` are the entries of its reflog and `commits` the first-parent commits of its tip, both as
    (seconds since the epoch, commit id), oldest first.
    """

    moves: tuple[tuple[int, str], ...]
    commits: tuple[tuple[int, str], ...]

    def commit_at(self, at_ms: int) -> str | None:
        """Return the branch's commit at a time, or None before its first commit.

        The reflog answers where it reaches back far enough. Before that the last commit with an earlier
        committer date stands in for it.
        """
        at_s = at_ms // 1000
        return _last_before(self.moves, at_s) or _last_before(self.commits, at_s)


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, by the root of its working tree."""

    root: Path

    @classmethod
    def open(cls, path: Path) -> Repository:
        """Find the repository that `path`, a folder, lies in.

        Raises:
            RepositoryError: `path` is not a folder or no repository contains it.
        """
        if not path.is_dir():
            raise RepositoryError(f"{path} is not a folder; expected a folder inside a git repository.")
        answer = _run(path, "rev-parse", "--show-toplevel")
        if answer.returncode != 0:
            raise RepositoryError(f"{path} is not inside a git working tree: {_reason(answer)}.")
        return cls(Path(answer.stdout.removesuffix("\n")))

    @classmethod
    def find(cls, path: Path) -> Repository | None:
        """Find the repository that `path` lies in, or None if it does not lie in one.

        Raises:
            RepositoryError: there is a repository, but git refuses to read it.
        """
        if not path.is_dir():
            return None
        answer = _run(path, "rev-parse", "--show-toplevel")
        if answer.returncode != 0 and any(text in answer.stderr for text in _NO_WORKING_TREE):
            return None
        return cls.open(path)

    def resolve_commit(self, reference: str) -> str:
        """Return the full id of the commit that `reference` (an id, a tag, a branch, `HEAD~2`) names.

        Raises:
            RepositoryError: nothing, or something other than a commit, has this name.
        """
        commit = self._verify(reference)
        if commit is None:
            raise RepositoryError(
                f"{reference!r} is not a commit of {self.root}; expected a commit id, a tag or a branch."
                f"{did_you_mean(reference, self.branches())}",
            )
        return commit

    def resolve_branch(self, branch: str) -> str:
        """Return the full id of the tip of a local branch, else of the branch on a remote.

        Raises:
            RepositoryError: neither exists.
        """
        reference = self._branch_reference(branch)
        if reference is None:
            raise RepositoryError(
                f"{branch!r} is not a branch of {self.root}; expected a local branch or a branch of a "
                f"remote.{did_you_mean(branch, self.branches())}",
            )
        return self.resolve_commit(reference)

    def branches(self) -> tuple[str, ...]:
        """Return the short names of all local and remote branches."""
        listing = self._read("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes")
        return tuple(listing.splitlines())

    def is_shallow(self) -> bool:
        """Return whether history was cut off when the repository was cloned."""
        return self._read("rev-parse", "--is-shallow-repository").strip() == "true"

    def read_branch_history(self, branch: str) -> BranchHistory:
        """Return where `branch` (or `HEAD`) pointed over time; empty for a branch that no longer exists.

        `HEAD` has moves only: its commits would be those of whatever is checked out now.
        """
        reference = "HEAD" if branch == "HEAD" else self._branch_reference(branch)
        if reference is None or self._verify(reference) is None:
            return BranchHistory(moves=(), commits=())
        commits = () if reference == "HEAD" else self._first_parents(reference)
        return BranchHistory(moves=self._moves(reference), commits=commits)

    def known_commits(self, commits: Iterable[str]) -> dict[str, str]:
        """Return the full id of each given (possibly abbreviated) commit id that the repository has."""
        asked = sorted({commit for commit in commits if _COMMIT_ID.fullmatch(commit)})
        if not asked:
            return {}
        questions = "".join(f"{commit}^{{commit}}\n" for commit in asked)
        answers = self._read("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=questions)
        return {
            commit: answer.split()[0]
            for commit, answer in zip(asked, answers.splitlines(), strict=True)
            if answer.endswith(" commit")
        }

    def list_commits(self) -> tuple[str, ...]:
        """Return the full id of every commit that a branch, a tag or a reflog leads to."""
        return tuple(self._read("rev-list", "--all", "--reflog").split())

    def relate(self, commits: Iterable[str], targets: Sequence[str]) -> dict[str, Ancestry]:
        """Return how each commit relates to the targets, in two git calls for any number of commits.

        Args:
            commits: commit ids, full or abbreviated; ids that the repository lacks get no answer.
            targets: full commit ids that the repository has.

        Returns:
            One `Ancestry` for each known commit, by the id as it was given. In a shallow repository a
            relation that is missing may exist beyond the cut.
        """
        known = self.known_commits([*commits, *targets])
        missing = [target for target in targets if target not in known]
        if missing:
            raise RepositoryError(f"{self.root} no longer has the commit {missing[0]}; fetch it again.")
        if not known:
            return {}
        wanted = sorted(set(known.values()))
        listing = self._read("rev-list", "--parents", "--topo-order", "--stdin", stdin="\n".join(wanted) + "\n")
        relations = compute_ancestry(_parse_parents(listing), frozenset(wanted), targets)
        return {given: relations[full] for given, full in known.items()}

    def read_setting(self, name: str) -> str | None:
        """Return a setting of git that holds in this repository, such as `user.email`; None where none is set."""
        answer = _run(self.root, "config", "--get", name)
        if answer.returncode > 1:
            raise RepositoryError(f"git config failed in {self.root}: {_reason(answer)}.")
        return answer.stdout.strip() or None

    def read_messages(self, since_ms: int) -> tuple[tuple[str, str], ...]:
        """Return (commit id, message) of every commit on any branch since a time, newest first."""
        listing = self._read("log", "--all", f"--since=@{max(since_ms // 1000, 100_000_000)}", "-z", "--format=%H%n%B")
        entries = (entry.partition("\n") for entry in listing.split("\0") if entry)
        return tuple((commit, message) for commit, _, message in entries)

    def list_files(self) -> frozenset[str]:
        """Return the paths that git tracks, relative to the root."""
        return frozenset(path for path in self._read("ls-files", "-z", "--cached").split("\0") if path)

    def read_changes(self, paths: Sequence[str]) -> dict[str, int]:
        """Return when each path (relative to the root) was last committed, in milliseconds since the epoch.

        A path that no commit of the current branch touched has no entry.
        """
        if not paths or self._verify("HEAD") is None:
            return {}
        literal = [f":(literal){path}" for path in paths]
        listing = self._read("log", "-z", "--name-only", "--format=%x01%ct", "--", *literal)
        changed: dict[str, int] = {}
        changed_ms = 0
        for part in listing.replace("\n", "\0").split("\0"):
            if part.startswith("\1"):
                changed_ms = int(part[1:]) * 1000
            elif part:
                changed.setdefault(part, changed_ms)
        return changed

    def _verify(self, reference: str) -> str | None:
        if not reference or "\0" in reference or "\n" in reference:
            return None
        answer = _run(
            self.root,
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{reference}^{{commit}}",
        )
        return answer.stdout.strip() if answer.returncode == 0 else None

    def _branch_reference(self, branch: str) -> str | None:
        candidates = (f"refs/heads/{branch}", f"refs/remotes/{branch}", f"refs/remotes/origin/{branch}")
        return next((reference for reference in candidates if self._verify(reference)), None)

    def _moves(self, reference: str) -> tuple[tuple[int, str], ...]:
        listing = self._read(
            "log",
            "--walk-reflogs",
            "--no-patch",
            "--no-ext-diff",
            "--no-textconv",
            "--date=unix",
            "--format=%H %gd",
            "--end-of-options",
            reference,
        )
        found = (_REFLOG_LINE.fullmatch(line) for line in listing.splitlines())
        return tuple(reversed([(int(match[2]), match[1]) for match in found if match]))

    def _first_parents(self, reference: str) -> tuple[tuple[int, str], ...]:
        listing = self._read("rev-list", "--first-parent", "--timestamp", "--end-of-options", reference)
        entries = (line.split() for line in listing.splitlines())
        return tuple(sorted((int(seconds), commit) for seconds, commit in entries))

    def _read(self, *arguments: str, stdin: str = "") -> str:
        answer = _run(self.root, *arguments, stdin=stdin)
        if answer.returncode != 0:
            raise RepositoryError(f"git {arguments[0]} failed in {self.root}: {_reason(answer)}.")
        return answer.stdout


def compute_ancestry(
    history: Iterable[tuple[str, tuple[str, ...]]],
    wanted: frozenset[str],
    targets: Sequence[str],
) -> dict[str, Ancestry]:
    """Relate the wanted commits to the targets in one pass over a history.

    Args:
        history: (commit, parents), every commit before its parents.
        wanted: the commits to relate; the pass ends when all were met.
        targets: the commits to relate them to.
    """
    bits = {target: 1 << index for index, target in enumerate(targets)}
    above: dict[str, int] = {}
    seen: list[tuple[str, tuple[str, ...]]] = []
    waiting = set(wanted) | set(targets)
    for commit, parents in history:
        mask = above.get(commit, 0) | bits.get(commit, 0)
        above[commit] = mask
        for parent in parents:
            above[parent] = above.get(parent, 0) | mask
        seen.append((commit, parents))
        waiting.discard(commit)
        if not waiting:
            break
    below = _descend(seen, bits)
    return {
        commit: Ancestry(
            ancestor_of=_members(above[commit], bits),
            descendant_of=_members(below[commit], bits),
        )
        for commit in wanted
    }


def _descend(seen: Sequence[tuple[str, tuple[str, ...]]], bits: Mapping[str, int]) -> dict[str, int]:
    below: dict[str, int] = {}
    for commit, parents in reversed(seen):
        mask = bits.get(commit, 0)
        for parent in parents:
            mask |= below.get(parent, 0)
        below[commit] = mask
    return below


def _members(mask: int, bits: Mapping[str, int]) -> frozenset[str]:
    return frozenset(target for target, bit in bits.items() if mask & bit)


def _parse_parents(listing: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in listing.splitlines():
        commit, *parents = line.split()
        yield commit, tuple(parents)


def _last_before(entries: Sequence[tuple[int, str]], at_s: int) -> str | None:
    index = bisect_right(entries, at_s, key=lambda entry: entry[0])
    return entries[index - 1][1] if index else None


def _run(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(  # noqa: S603 - a list of arguments, no shell, references behind --end-of-options
            ["git", *_HARDENING, "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=TIMEOUT_S,
            env=inherited | _ENVIRONMENT,
        )
    except FileNotFoundError:
        raise RepositoryError("git was not found on PATH; install git or leave repositories out.") from None
    except subprocess.TimeoutExpired:
        raise RepositoryError(f"git {arguments[0]} gave no answer in {folder} within {TIMEOUT_S:.0f} s.") from None


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    lines = answer.stderr.strip().splitlines()
    return lines[0].removesuffix(".") if lines else f"exit status {answer.returncode}"
