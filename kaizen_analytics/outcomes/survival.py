"""Which lines of a commit are left later: the owner of every line, traced forward through a history.

The answer is that of `git blame` at each asked-for commit, renames included, but for all commits in one walk: git
gives the changes between every commit and its parents once, and a list of owners per file is spliced along.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from kaizen_analytics.core.git import Repository

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.core.git import LoggedCommit

REFERENCE = "refs/notes/ai"
"""Where git-ai notes which lines a session wrote."""
Claims = dict[bytes, list[tuple[int, int, str]]]
"""By file: first and last line, counted from 1, and the id of the session that wrote them."""
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")

_Owners = dict[bytes, "array[int]"]
_Hunk = tuple[int, int, int]
"""First line and number of lines in the parent, number of lines in the commit."""

_HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HEADER = re.compile(rb"[0-9a-f]{40,64}\n")


class _Change:
    """What one commit did to one file, compared with one parent."""

    __slots__ = ("hunks", "new", "old")

    def __init__(self) -> None:
        self.old: bytes | None = None
        self.new: bytes | None = None
        self.hunks: list[_Hunk] = []


def count_surviving(
    repository: Repository,
    log: Sequence[LoggedCommit],
    asked: Mapping[str, Iterable[str]],
    *,
    claims: Mapping[str, Claims] = MappingProxyType({}),
) -> dict[tuple[str, str], int]:
    """Return how many lines of a commit, or of what one session wrote of it, are left at a later commit.

    Args:
        log: The history of the later commits, newest first (`Repository.read_log`).
        asked: For each later commit (a full id), whose lines to count there: those of a commit, or of a session in it,
            written as the commit, a space and the session.
        claims: Which lines of a commit a session wrote.

    Returns:
        The number of lines by (later commit, what was asked for).

    Raises:
        RepositoryError: git cannot read the history.

    >>> count_surviving(Repository(tmp), (), {})
    {}
    """
    wanted = {later: frozenset(commits) for later, commits in asked.items()}
    counts: dict[tuple[str, str], int] = {}
    span = _choose_span(log, wanted)
    owners = _Numbers(span, claims)
    for commit, state in _walk(repository, span, owners) if span else ():
        for earlier in wanted.get(commit, ()):
            counts[commit, earlier] = sum(state.counts[number] for number in owners.of.get(earlier, ()))
    return counts


class _Numbers:
    """Numbers of the owners of lines: one for each commit, and one for each session that wrote lines of it.

    `of` has the numbers of a commit (with those of its sessions), and of a session in a commit.
    """

    __slots__ = ("commit", "lines", "of")

    def __init__(self, span: Sequence[LoggedCommit], claims: Mapping[str, Claims]) -> None:
        self.commit = {entry.commit: place for place, entry in enumerate(reversed(span))}
        self.of = {commit: [place] for commit, place in self.commit.items()}
        self.lines: dict[str, dict[bytes, dict[int, int]]] = {}
        following = len(span)
        for commit in claims.keys() & self.commit.keys():
            self.lines[commit] = {path: {} for path in claims[commit]}
            for path, ranges in claims[commit].items():
                for first, last, session in ranges:
                    key = f"{commit} {session}"
                    if key not in self.of:
                        self.of[key] = [following]
                        self.of[commit].append(following)
                        following += 1
                    number = self.of[key][0]
                    length = min(last - first + 1, _LONGEST)  # a note is untrusted
                    self.lines[commit][path] |= dict.fromkeys(range(first, first + length), number)


_LONGEST = 1_000_000


def _choose_span(log: Sequence[LoggedCommit], wanted: Mapping[str, frozenset[str]]) -> Sequence[LoggedCommit]:
    """Return the part of a log, newest first, between the asked-for commits: nothing else decides about their lines."""
    named = {*wanted, *(commit.partition(" ")[0] for commits in wanted.values() for commit in commits)}
    places = [place for place, entry in enumerate(log) if entry.commit in named]
    return log[places[0] : places[-1] + 1] if places else ()


class _State:
    """The owner of every line of every file at one commit, and how many lines each owner has; owners are numbers."""

    __slots__ = ("counts", "files")

    def __init__(self, files: _Owners, counts: Counter[int]) -> None:
        self.files = files
        self.counts = counts

    def copy(self) -> _State:
        return _State(dict(self.files), self.counts.copy())

    def replace(self, path: bytes, lines: array[int] | None) -> None:
        """Set the owners of one file as a whole; None removes it."""
        before = self.files.pop(path, None)
        if before is not None:
            self.counts.subtract(before)
        if lines is not None:
            self.files[path] = lines
            self.counts.update(lines)


_BEFORE = -1
"""Owner of the lines that are older than the span of a walk."""


def _walk(repository: Repository, span: Sequence[LoggedCommit], owners: _Numbers) -> Iterator[tuple[str, _State]]:
    """Yield every commit, parents first, with the owners of its lines."""
    order = [*reversed(span)]
    parents = {entry.commit: entry.parents for entry in order}
    children = Counter(parent for known in parents.values() for parent in known)
    pairs = [(commit, one) for commit, known in parents.items() for one in _or_none(known)]
    changes = _read_changes(repository.stream_diffs(pairs))
    states: dict[str, _State] = {}
    for entry in order:
        sides = [next(changes) for _ in _or_none(entry.parents)]
        befores = []
        for parent in entry.parents:
            if parent not in states:
                states[parent] = _read_state(repository, parent)
            children[parent] -= 1
            befores.append(states[parent] if children[parent] else states.pop(parent))
        state = befores[0] if befores else _State({}, Counter())
        if entry.parents and children[entry.parents[0]]:
            state = state.copy()
        number = owners.commit[entry.commit]
        _apply(state, sides[0], number, owners.lines.get(entry.commit, {}))
        if len(befores) > 1:
            _merge(state, sides, befores, number)
        if children[entry.commit]:
            states[entry.commit] = state
        yield entry.commit, state


def _read_state(repository: Repository, commit: str) -> _State:
    """Return the files of a commit from before the span."""
    files = {path: array("i", [_BEFORE]) * lines for path, lines in repository.read_line_totals(commit).items()}
    return _State(files, Counter())


def _or_none(parents: Sequence[str]) -> Sequence[str | None]:
    return parents or (None,)


def _apply(state: _State, changes: Sequence[_Change], owner: int, claimed: Mapping[bytes, Mapping[int, int]]) -> None:
    """Bring the owners of a parent to its child; lines of files that did not change are shared."""
    old = {change.old: state.files.get(change.old, array("i")) for change in changes if change.old is not None}
    for change in changes:
        if change.new is None:
            state.replace(change.old or b"", None)
        elif change.old is not None and change.old != change.new:
            state.files.pop(change.old, None)
    for change in changes:
        if change.new is None:
            continue
        lines = old[change.old] if change.old is not None else array("i")
        for start, removed, added in change.hunks:
            state.counts.subtract(lines[start - 1 : start - 1 + removed] if removed else ())
            state.counts[owner] += added
        spliced = _splice(lines, change.hunks, owner)
        if own := claimed.get(change.new):
            _claim(spliced, own, owner, state.counts)
        state.files[change.new] = spliced


def _claim(lines: array[int], claimed: Mapping[int, int], owner: int, counts: Counter[int]) -> None:
    """Give lines that a commit added to the sessions that wrote them; others keep their owners."""
    for line, number in claimed.items():
        if line <= len(lines) and lines[line - 1] == owner:
            lines[line - 1] = number
            counts[number] += 1
            counts[owner] -= 1


def _splice(lines: array[int], hunks: Sequence[_Hunk], owner: int) -> array[int]:
    if not hunks:
        return lines
    spliced = array("i")
    done = 0
    for start, removed, added in hunks:
        first = start - 1 if removed else start
        spliced.extend(lines[done:first])
        spliced.extend([owner] * added)
        done = first + removed
    spliced.extend(lines[done:])
    return spliced


def _merge(state: _State, sides: Sequence[Sequence[_Change]], befores: Sequence[_State], owner: int) -> None:
    """Give the lines that the first parent lacks to their owners in the further parents of a merge.

    A file that a merge takes whole from one parent has that parent's owners, as in git.
    """
    changed = [{change.new: change for change in side if change.new is not None} for side in sides[1:]]
    further = [*zip(changed, (before.files for before in befores[1:]), strict=True)]
    for path in {change.new for change in sides[0] if change.new is not None}:
        whole = next((files[path] for changes, files in further if path not in changes and path in files), None)
        if whole is not None:
            state.replace(path, whole)
            continue
        for changes, files in further:
            change = changes.get(path)
            if change is not None and change.old in files:
                there = _splice(files[change.old], change.hunks, owner)
                state.replace(path, _fill(state.files[path], there, owner))


def _fill(lines: array[int], there: array[int], owner: int) -> array[int]:
    return array("i", [two if one == owner else one for one, two in zip(lines, there, strict=True)])


def _read_changes(lines: Iterator[bytes]) -> Iterator[list[_Change]]:
    """Yield the changes of each (commit, parent) pair, read from `git diff-tree --stdin -p -U0`."""
    changes: list[_Change] | None = None
    skip = 0
    for line in lines:
        if skip and line[:1] in (b"+", b"-"):
            skip -= 1
        elif line.startswith(b"@@ ") and changes and (match := _HUNK.match(line)):
            first, removed, added = int(match[1]), int(match[2] or 1), int(match[3] or 1)
            changes[-1].hunks.append((first, removed, added))
            skip = removed + added
        elif _HEADER.fullmatch(line):
            if changes is not None:
                yield changes
            changes = []
        elif changes is not None:
            _read_header(line.rstrip(b"\n"), changes)
    if changes is not None:
        yield changes


def _read_header(line: bytes, changes: list[_Change]) -> None:
    if line.startswith(b"diff --git "):
        changes.append(_Change())
        changes[-1].old, changes[-1].new = _split_names(line[11:])
    elif line.startswith(b"new file mode "):
        changes[-1].old = None
    elif line.startswith(b"deleted file mode "):
        changes[-1].new = None
    elif line.startswith(b"rename from "):
        changes[-1].old = _unquote(line[12:])
    elif line.startswith(b"rename to "):
        changes[-1].new = _unquote(line[10:])


def _split_names(names: bytes) -> tuple[bytes, bytes]:
    """Return both names of `a/NAME b/NAME`; they are the same here, a rename says its names on lines of their own."""
    if names.startswith(b'"'):
        first = names[: names.index(b'" "') + 1] if b'" "' in names else names
        return _unquote(first)[2:], _unquote(first)[2:]
    name = names[2 : (len(names) - 1) // 2]
    return name, name


def _unquote(name: bytes) -> bytes:
    if not name.startswith(b'"'):
        return name
    return name[1:-1].decode("unicode_escape").encode("latin-1")


def parse_note(note: bytes) -> Claims:
    r"""Return the lines of each file that a note of git-ai (authorship 3.0.0) gives to sessions.

    A note lists, for each file, keys with ranges of lines; below `---` stands JSON that gives the session of each key.
    A key may have a part for one trace behind `::`. Keys of people, and lines that no key names, are nobody's: they are
    unknown. Notes are untrusted text: what does not have this form is left out.

    >>> parse_note(b'a.py\n  s_1::t_2 1-3,7\n---\n{"sessions": {"s_1": {"agent_id": {"id": "abc"}}}}')
    {b'a.py': [(1, 3, 'abc'), (7, 7, 'abc')]}
    >>> parse_note(b"no note of this form")
    {}
    """
    attested, found, document = note.decode("utf-8", "surrogateescape").partition("\n---\n")
    sessions = dict(_read_sessions(document)) if found else {}
    claims: Claims = {}
    path = b""
    for line in attested.splitlines() if sessions else ():
        if not line.startswith("  "):
            path = line.strip().strip('"').encode("utf-8", "surrogateescape")
            continue
        key, _, ranges = line.strip().partition(" ")
        session = sessions.get(key.partition("::")[0])
        if session is not None and path:
            claims.setdefault(path, []).extend((*span, session) for span in _read_ranges(ranges))
    return {path: lines for path, lines in claims.items() if lines}


def _read_sessions(document: str) -> Iterator[tuple[str, str]]:
    try:
        known = json.loads(document)
    except (ValueError, RecursionError):
        return
    for name in ("prompts", "sessions"):
        entries = known.get(name) if isinstance(known, dict) else None
        for key, entry in entries.items() if isinstance(entries, dict) else ():
            agent = entry.get("agent_id") if isinstance(entry, dict) else None
            session = agent.get("id") if isinstance(agent, dict) else None
            if isinstance(session, str):
                yield key, session


def _read_ranges(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        if match := _RANGE.fullmatch(part.strip()):
            first = int(match[1])
            yield first, int(match[2] or first)


def count_claimed(claims: Mapping[bytes, Iterable[tuple[int, int, str]]]) -> dict[str, int]:
    """Return how many lines of a commit each session wrote.

    >>> count_claimed({b"a": [(1, 3, "x"), (9, 9, "y")], b"b": [(1, 1, "x")]})
    {'x': 4, 'y': 1}
    """
    counts: dict[str, int] = {}
    for lines in claims.values():
        for first, last, session in lines:
            counts[session] = counts.get(session, 0) + max(last - first + 1, 0)
    return counts
