"""Read-only questions to a git repository; the only module that starts git.

A repository is untrusted input: its configuration may name programs, and a reference may look like an option.
Every call therefore runs without hooks, file monitors, pagers, prompts, lazy fetches or inherited `GIT_*`
variables, passes references behind `--end-of-options`, and ends after a time-out.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from kaizen_analytics.core.errors import RepositoryError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TIMEOUT_S = 120.0
"""The walk of a history with a million commits takes about ten seconds."""

_HARDENING = (
    *("--no-pager", "--no-optional-locks"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.quotePath=false"),
    *("-c", "log.showSignature=false"),
    *("-c", "protocol.allow=never"),
)
_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
}
_PLAIN_DIFF = ("--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
_NO_WORKING_TREE = ("not a git repository", "must be run in a work tree")
_COMMIT_ID = re.compile(r"[0-9a-f]{7,64}")
_COMMIT_LINE = re.compile(r"[0-9a-f]{40,64}(?:\n|$)")
_BAD_LINK = re.compile(r"(?:symlink|dangling|loop|notdir) \d+")
_REFLOG_LINE = re.compile(r"([0-9a-f]{40,64}) .*@\{(\d+)\}")


class Ancestry(NamedTuple):
    """How one commit relates to the target commits; a commit is its own ancestor and its own descendant."""

    ancestor_of: frozenset[str]
    descendant_of: frozenset[str]


class BranchHistory(NamedTuple):
    """Where one branch pointed over time.

    `moves` are the entries of its reflog and `commits` the first-parent commits of its tip, both as
    (seconds since the epoch, commit id), oldest first.

    >>> BranchHistory(moves=((20, "b"),), commits=((10, "a"), (20, "b"))).commit_at(15_000)
    'a'
    """

    moves: tuple[tuple[int, str], ...]
    commits: tuple[tuple[int, str], ...]

    def commit_at(self, at_ms: int) -> str | None:
        """Return the branch's commit at a time, or None before its first commit.

        Before the oldest entry of the reflog, this is the last commit with an earlier committer date.
        """
        at_s = at_ms // 1000
        return _last_before(self.moves, at_s) or _last_before(self.commits, at_s)


class LoggedCommit(NamedTuple):
    """A commit of a log; `at_s` is its committer's time in seconds since the epoch."""

    commit: str
    parents: tuple[str, ...]
    at_s: int
    message: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, by the root of its working tree.

    >>> Repository.find(tmp) is None  # no repository contains this folder
    True
    """

    root: Path

    @classmethod
    def open(cls, path: Path) -> Repository:
        """Return the repository that contains the folder `path`.

        Raises:
            RepositoryError: `path` is not a folder, no repository contains it, or git refuses to read it.
        """
        if not path.is_dir():
            raise RepositoryError(f"{path} is not a folder; expected a folder inside a git repository.")
        found = cls.find(path)
        if found is None:
            raise RepositoryError(f"{path} is not inside a git working tree; name a folder of a git repository.")
        return found

    @classmethod
    def find(cls, path: Path) -> Repository | None:
        """Return the repository that contains `path`, or None if there is none.

        Raises:
            RepositoryError: there is a repository, but git refuses to read it.
        """
        if not path.is_dir():
            return None
        answer = _run(path, "rev-parse", "--show-toplevel")
        if answer.returncode == 0:
            return cls(Path(answer.stdout.removesuffix("\n")))
        if any(text in answer.stderr for text in _NO_WORKING_TREE):
            return None
        raise RepositoryError(f"git cannot read the repository of {path}: {_reason(answer)}.")

    def resolve_commit(self, reference: str) -> str:
        """Return the full id of the commit that `reference` (an id, a tag, a branch, `HEAD~2`) names.

        Raises:
            RepositoryError: nothing, or something other than a commit, has this name.
        """
        commit = self._verify(reference)
        return commit or self._refuse(reference, "a commit", "a commit id, a tag or a branch")

    def resolve_branch(self, branch: str) -> str:
        """Return the full id of the tip of a local branch, else of the branch on a remote.

        Raises:
            RepositoryError: neither exists.
        """
        _, tip = self._find_branch(branch)
        return tip or self._refuse(branch, "a branch", "a local branch or a branch of a remote")

    def is_shallow(self) -> bool:
        """Return whether history was cut off when the repository was cloned."""
        return self._read("rev-parse", "--is-shallow-repository").strip() == "true"

    def read_branch_history(self, branch: str) -> BranchHistory:
        """Return where `branch` (or `HEAD`) pointed over time; empty for a branch that no longer exists.

        `HEAD` has moves only: its commits would be those of whatever is checked out now.
        """
        reference, tip = ("HEAD", self._verify("HEAD")) if branch == "HEAD" else self._find_branch(branch)
        if tip is None:
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

    def object_ids(self, commit: str, paths: Sequence[str]) -> tuple[str | None, ...]:
        """Return the id of the file or the tree at each path of a commit, links followed; None where it has none."""
        if not _COMMIT_ID.fullmatch(commit):
            return (None,) * len(paths)
        questions = "".join(f"{commit}:{path}\n" for path in paths)
        answers = iter(
            self._read("cat-file", "--batch-check=%(objectname)", "--follow-symlinks", stdin=questions).splitlines()
        )
        found: list[str | None] = []
        for answer in answers:
            found.append(answer if _COMMIT_ID.fullmatch(answer) else None)
            if _BAD_LINK.fullmatch(answer):
                next(answers)  # where it leads
        return tuple(found)

    def read_blobs(self, ids: Sequence[str]) -> list[bytes]:
        """Return the contents of some files, by the ids that git gives them."""
        answer = self._read("cat-file", "--batch", stdin="".join(f"{one}\n" for one in ids))
        data, found, place = answer.encode("utf-8", "surrogateescape"), [], 0
        for _ in ids:
            end = data.index(b"\n", place)
            size = int(data[place:end].split()[2])
            found.append(data[end + 1 : end + 1 + size])
            place = end + size + 2
        return found

    def list_commits(self) -> tuple[str, ...]:
        """Return the full id of every commit that a branch, a tag or a reflog leads to."""
        return tuple(self._read("rev-list", "--all", "--reflog").split())

    def relate(self, commits: Iterable[str], targets: Sequence[str]) -> dict[str, Ancestry]:
        """Return how each known commit relates to the targets, in two git calls for any number of commits.

        In a shallow repository a missing relation may exist beyond the cut.

        Args:
            commits: commit ids, full or abbreviated; the result leaves out those that the repository lacks.
            targets: full commit ids.

        Raises:
            RepositoryError: the repository lacks a target.
        """
        known = self.known_commits([*commits, *targets])
        missing = [target for target in targets if target not in known]
        if missing:
            raise RepositoryError(f"{self.root} no longer has the commit {missing[0]}; fetch it again.")
        if not known:
            return {}
        wanted = sorted(set(known.values()))
        listing = self._read("rev-list", "--parents", "--topo-order", "--stdin", stdin="\n".join(wanted) + "\n")
        history = ((commit, parents) for commit, *parents in map(str.split, listing.splitlines()))
        relations = _compute_ancestry(history, frozenset(wanted), targets)
        return {given: relations[full] for given, full in known.items()}

    def read_setting(self, name: str) -> str | None:
        """Return a setting of git that holds in this repository, such as `user.email`; None where none is set."""
        answer = _run(self.root, "config", "--get", name)
        if answer.returncode > 1:
            raise RepositoryError(f"git config failed in {self.root}: {_reason(answer)}.")
        return answer.stdout.strip() or None

    def find_default_branch(self) -> tuple[str, str] | None:
        """Return the name and the tip of the branch that work lands on; None in a repository without a commit.

        The branch of `origin/HEAD`, else `main`, `master`, `trunk` or `develop`, else what is checked out.
        """
        answer = _run(self.root, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
        named = answer.stdout.strip() if answer.returncode == 0 else ""
        local = ("main", "master", "trunk", "develop")
        for name in (named, *local, *(f"origin/{name}" for name in local), "HEAD"):
            tip = self._find_branch(name)[1] if name != "HEAD" else self._verify("HEAD")
            if name and tip:
                return name, tip
        return None

    def read_log(self, tip: str) -> tuple[LoggedCommit, ...]:
        """Return every commit that leads to `tip` (a full id), newest first, parents after their children."""
        shape = "--format=%H%x00%P%x00%ct%x00%B%x00%x01"
        listing = self._read("log", "--topo-order", shape, "--end-of-options", tip)
        entries = (entry.lstrip("\n").split("\0") for entry in listing.split("\1"))
        return tuple(
            LoggedCommit(commit=entry[0], parents=tuple(entry[1].split()), at_s=int(entry[2]), message=entry[3])
            for entry in entries
            if len(entry) > 3
        )

    def read_patch_ids(self, commits: Sequence[str], *, bases: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the patch id of each commit, the same for equal changes; with `bases`, of all changes since its base.

        A merge, and a commit without changes, has none.
        """
        if not commits:
            return {}
        lines = "".join(f"{commit} {bases[commit]}\n" if bases else f"{commit}\n" for commit in commits)
        patches = self._read("diff-tree", "--stdin", "--root", "-p", *_PLAIN_DIFF, stdin=lines)
        answers = self._read("patch-id", "--stable", stdin=patches)
        return {commit: patch for patch, commit in (line.split() for line in answers.splitlines())}

    def read_side_history(self, commits: Sequence[str], tip: str) -> dict[str, tuple[str, ...]]:
        """Return the parents of the given commits and of all before them that do not lead to `tip`, newest first."""
        stdin = "".join(f"{commit}\n" for commit in (*commits, f"^{tip}"))
        listing = self._read("rev-list", "--parents", "--topo-order", "--stdin", stdin=stdin)
        return {commit: tuple(parents) for commit, *parents in map(str.split, listing.splitlines())}

    def read_changes_of(self, tip: str, paths: Sequence[str], since_s: int) -> tuple[str, ...]:
        """Return the commits of `tip` since a time that touch one of the paths."""
        literal = [f":(literal){path}" for path in paths]
        since = f"--since=@{max(since_s, 100_000_000)}"
        listing = self._read("rev-list", "--no-merges", since, "--end-of-options", tip, "--", *literal)
        return tuple(listing.split())

    def read_line_counts(self, commits: Sequence[str]) -> dict[str, dict[str, int]]:
        """Return the lines that each commit added, by path; merges add none, binary files count 0."""
        if not commits:
            return {}
        lines = "".join(f"{commit}\n" for commit in commits)
        listing = self._read("diff-tree", "--stdin", "--root", "-r", "-z", "--numstat", *_PLAIN_DIFF, stdin=lines)
        added: dict[str, dict[str, int]] = {commit: {} for commit in commits}
        current = ""
        for part in listing.split("\0"):
            text = part
            if _COMMIT_LINE.match(text):
                current, _, text = text.partition("\n")
            if text.count("\t") >= 2:
                plus, _, path = text.split("\t", 2)
                added[current][path] = int(plus) if plus.isdigit() else 0
        return added

    def read_times(self, commits: Sequence[str]) -> tuple[int, ...]:
        """Return the committer's time of each commit (a full id), in seconds since the epoch."""
        answer = self._read("log", "--no-walk=unsorted", "--stdin", "--format=%ct", stdin="\n".join(commits) + "\n")
        return tuple(map(int, answer.split()))

    def read_line_totals(self, commit: str) -> dict[bytes, int]:
        """Return how many lines each file of a commit (a full id) has; 0 for a binary file."""
        empty = self._read("hash-object", "-t", "tree", "--stdin").strip()
        listing = self._read("diff-tree", "-r", "-z", "--numstat", *_PLAIN_DIFF, empty, commit)
        rows = (part.split("\t", 2) for part in listing.split("\0") if part)
        return {
            path.encode("utf-8", "surrogateescape"): int(lines) if lines.isdigit() else 0 for lines, _, path in rows
        }

    def read_notes(self, reference: str) -> tuple[str, dict[str, tuple[str, bytes]]]:
        """Return the commit of a ref of notes, and the id and text of each commit's note; empty without such a ref."""
        tip = self._verify(reference)
        if tip is None:
            return "", {}
        listing = [line.split() for line in self._read("notes", "--ref", reference, "list").splitlines()]
        texts = self.read_blobs([blob for blob, _ in listing])
        return tip, {commit: (blob, text) for (blob, commit), text in zip(listing, texts, strict=True)}

    def read_authored(
        self, branch: str | None, email: str, since_s: int, until_s: int
    ) -> list[tuple[str, int, frozenset[str]]]:
        """Return the commits of an author on a branch in a time: id, time in seconds since the epoch, and files.

        Without such a branch, those of the default branch; merges are left out.
        """
        tip = self._find_branch(branch)[1] if branch else None
        tip = tip or (self.find_default_branch() or ("", None))[1]
        if tip is None:
            return []
        span = (f"--since=@{max(since_s, 100_000_000)}", f"--until=@{max(until_s, 100_000_000)}")
        shape = ("-z", "--no-merges", "--name-only", "--format=%x01%H%x00%ct%x00%ae%x00", *_PLAIN_DIFF[1:3])
        listing = self._read("log", *span, *shape, "--end-of-options", tip)
        found = []
        for entry in listing.split("\1")[1:]:
            commit, at_s, author, *files = entry.split("\0")
            if author == email:
                found.append((commit, int(at_s), frozenset(name.lstrip("\n") for name in files if name.strip("\n"))))
        return found

    def stream_diffs(self, pairs: Iterable[tuple[str, str | None]]) -> Iterator[bytes]:
        """Yield the lines of the diffs of (commit, parent) pairs, without context; each begins with the commit's id.

        Raises:
            RepositoryError: git failed.
        """
        lines = "".join(f"{commit} {parent}\n" if parent else f"{commit}\n" for commit, parent in pairs)
        command = ("diff-tree", "--stdin", "--root", "--always", "-r", "-p", "-U0", "-M", *_PLAIN_DIFF)
        with tempfile.TemporaryFile() as given:
            given.write(lines.encode())
            given.seek(0)
            with subprocess.Popen(  # noqa: S603 - as in _run
                ["git", *_HARDENING, "-C", str(self.root), *command],  # noqa: S607
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            ) as process:
                yield from process.stdout or ()
        if process.returncode:
            raise RepositoryError(f"git diff-tree failed in {self.root} with exit status {process.returncode}.")

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

    def find_addition(self, text: str) -> tuple[str, int] | None:
        """Return the newest commit of the current branch that changed how often a text stands in the files.

        Returns:
            The commit's id, and its time in milliseconds since the epoch; None where no commit did.
        """
        if self._verify("HEAD") is None:
            return None
        found = self._read("log", "-1", "--format=%H %ct", f"-S{text}").split()
        return (found[0], int(found[1]) * 1000) if found else None

    def _verify(self, reference: str) -> str | None:
        if not reference or "\0" in reference or "\n" in reference:
            return None
        answer = _run(self.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
        return answer.stdout.strip() if answer.returncode == 0 else None

    def _find_branch(self, branch: str) -> tuple[str, str | None]:
        candidates = (f"refs/heads/{branch}", f"refs/remotes/{branch}", f"refs/remotes/origin/{branch}")
        found = ((reference, self._verify(reference)) for reference in candidates)
        return next(((reference, tip) for reference, tip in found if tip), ("", None))

    def _refuse(self, given: str, kind: str, expected: str) -> NoReturn:
        branches = self._read("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/remotes").splitlines()
        hint = did_you_mean(given, branches)
        raise RepositoryError(f"{given!r} is not {kind} of {self.root}; expected {expected}.{hint}")

    def _moves(self, reference: str) -> tuple[tuple[int, str], ...]:
        no_programs = ("--no-patch", "--no-ext-diff", "--no-textconv")
        shape = ("--date=unix", "--format=%H %gd", "--end-of-options")
        listing = self._read("log", "--walk-reflogs", *no_programs, *shape, reference)
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


def _compute_ancestry(
    history: Iterable[tuple[str, Sequence[str]]], wanted: frozenset[str], targets: Sequence[str]
) -> dict[str, Ancestry]:
    """Relate the wanted commits to the targets in one pass over (commit, parents), every commit before its parents."""
    bits = {target: 1 << index for index, target in enumerate(targets)}
    above: defaultdict[str, int] = defaultdict(int)  # the targets that descend from a commit, as bits
    below: defaultdict[str, int] = defaultdict(int)  # the targets among its ancestors
    walked: list[tuple[str, Sequence[str]]] = []
    waiting = set(wanted) | set(targets)
    for commit, parents in history:
        above[commit] |= bits.get(commit, 0)
        for parent in parents:
            above[parent] |= above[commit]
        walked.append((commit, parents))
        waiting.discard(commit)
        if not waiting:
            break
    for commit, parents in reversed(walked):
        below[commit] |= bits.get(commit, 0)
        for parent in parents:
            below[commit] |= below[parent]

    def members(mask: int) -> frozenset[str]:
        return frozenset(target for target, bit in bits.items() if mask & bit)

    return {
        commit: Ancestry(ancestor_of=members(above[commit]), descendant_of=members(below[commit])) for commit in wanted
    }


def _last_before(entries: Sequence[tuple[int, str]], at_s: int) -> str | None:
    index = bisect_right(entries, at_s, key=lambda entry: entry[0])
    return entries[index - 1][1] if index else None


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT


def _run(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - a list of arguments, no shell, references behind --end-of-options
            ["git", *_HARDENING, "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=_TIMEOUT_S,
            env=_environment(),
        )
    except FileNotFoundError:
        raise RepositoryError("git was not found on PATH; install git or leave repositories out.") from None
    except subprocess.TimeoutExpired:
        raise RepositoryError(f"git {arguments[0]} gave no answer in {folder} within {_TIMEOUT_S:.0f} s.") from None


def _reason(answer: subprocess.CompletedProcess[str]) -> str:
    lines = answer.stderr.strip().splitlines()
    return lines[0].removesuffix(".") if lines else f"exit status {answer.returncode}"
