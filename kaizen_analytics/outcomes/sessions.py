"""The outcomes of every session, from its commands and from git, kept in `ka_outcomes`.

A sub-agent's work counts with the session that started it. A value that cannot be known is NULL: a check whose result
nobody recorded, a commit that its repository no longer has, a repository that is gone (`reason` says so).
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from operator import neg
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.core.errors import RepositoryError
from kaizen_analytics.core.folders import folder_prefix
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.settings import load_sql
from kaizen_analytics.outcomes.commands import read_command, read_rules
from kaizen_analytics.outcomes.landing import DefaultBranch, SessionWork, find_landings, infer_commits
from kaizen_analytics.outcomes.survival import REFERENCE, Claims, count_claimed, count_surviving, parse_note

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from kaizen_analytics.core.git import LoggedCommit
    from kaizen_analytics.outcomes.landing import Landing
    from kaizen_analytics.store import Store

_SURVIVAL_DAYS = 14
"""Lines are counted again this long after they landed."""

_DAY_S = 86_400

_STAGED = {
    "events": "staging/events_of_sessions.sql",
    "session_roots": "staging/session_roots.sql",
    "tool_results": "staging/tool_results.sql",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOutcome:
    """What came out of one session; None is unknown.

    `checks` counts the test, build, type and lint runs, `checks_passed` is the last one's result. `commits` counts the
    commits it made, `landed` says whether one of them is on the default branch, `reverted` whether one was taken back.
    `lines_added` are lines of its landed commits, `lines_surviving` those left after `_SURVIVAL_DAYS` (unknown before).
    `branch_tip` is the commit of the default branch at which git was asked, with that of git-ai's notes, `due_ms` when
    lines are to be counted next, in milliseconds since the Unix epoch. `mark` changes with the events of the session.
    """

    session_id: str
    checks: int
    checks_passed: bool | None = None
    commits: int | None = None
    commit_ids: tuple[str, ...] = ()
    landed: bool | None = None
    reverted: bool | None = None
    lines_added: int | None = None
    lines_surviving: int | None = None
    pull_request: str | None = None
    reason: str | None = None
    branch_tip: str | None = None
    due_ms: int | None = None
    mark: str | None = None


def update_outcomes(
    store: Store,
    *,
    now_ms: int,
    since_ms: int | None = None,
    workspace: str | None = None,
    also: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[SessionOutcome, ...]:
    """Find out what came of root sessions, store it, and return it, oldest session first.

    A repository is asked about all its sessions at once, and only if a session or its default branch changed since.

    Sessions count that started at `since_ms` or later, in `workspace` or below, and those in `also`. `progress` is told
    how many repositories were asked, and of how many.

    >>> from kaizen_analytics.store import Store
    >>> with Store.open(tmp / "kaizen.db", create=True) as opened:
    ...     update_outcomes(opened, now_ms=0)
    ()
    """
    chosen = _select(
        store,
        "root_sessions",
        "session_roots",
        since_ms=since_ms,
        folder=folder_prefix(workspace),
        session_ids=json.dumps(sorted(also)),
    )
    known, folders = _read_stored(store)
    marks = _read_marks(store, chosen)
    kept = {
        session: known[session] for session, mark in marks.items() if session in known and known[session].mark == mark
    }
    changed = _read_changed(store, [row for row in chosen if row["session_id"] not in kept], marks)
    told = kept | changed
    folders |= {row["session_id"]: row["workspace"] for row in chosen}
    repositories = _find_repositories({folders[session] for session in told})
    work = _read_work(store, changed, folders)
    for done, (repository, inside) in enumerate(repositories.items()):
        progress(done, len(repositories))
        told |= _infer(repository, [one for one in work if one.workspace in inside], told)
        together = {
            session: told.get(session) or known[session] for session, folder in folders.items() if folder in inside
        }
        told |= _Question(store, repository, together, known, now_ms).answer()
    progress(len(repositories), len(repositories))
    _write_outcomes(store, [one for session, one in told.items() if known.get(session) != one], now_ms=now_ms)
    return tuple(told[row["session_id"]] for row in chosen)


def _select(store: Store, name: str, *reads: str, **parameters: object) -> list[dict[str, Any]]:
    """Return the rows of a query in `sql/outcomes`; it reads these relations instead of tables of the store."""
    return store.rows(load_sql(f"outcomes/{name}.sql", {one: _STAGED[one] for one in reads}), parameters)


def _read_work(store: Store, changed: Mapping[str, SessionOutcome], folders: Mapping[str, str]) -> list[SessionWork]:
    """Return when and where the sessions worked whose transcripts tell no commit."""
    silent = sorted(session for session, one in changed.items() if not one.commit_ids and not one.pull_request)
    rows = _select(store, "session_work", "session_roots", session_ids=json.dumps(silent)) if silent else []
    return [
        SessionWork(**{**row, "paths": tuple(json.loads(row["paths"])), "workspace": folders[row["session_id"]]})
        for row in rows
    ]


def _infer(
    repository: Repository | str, work: Sequence[SessionWork], told: Mapping[str, SessionOutcome]
) -> dict[str, SessionOutcome]:
    """Return the outcomes of sessions whose commits are told by git alone."""
    if isinstance(repository, str) or not work:
        return {}
    known = [commit for one in told.values() for commit in one.commit_ids]
    try:
        found = infer_commits(repository, work, known=known)
    except RepositoryError as error:
        return {one.session_id: replace(told[one.session_id], reason=str(error)) for one in work}
    return {session: replace(told[session], commits=len(ids), commit_ids=ids) for session, ids in found.items()}


def list_changed(store: Store, since_ms: int) -> list[str]:
    """Return the root sessions that have no outcome yet, or ended at a time or later.

    >>> len(list_changed(store, 0)) > 100
    True
    """
    rows = store.native(
        "select id from sessions where parent_session_id is null "
        "and (ended_at_ms >= cast(? as integer) or id not in (select session_id from ka_outcomes))",
        since_ms,
    )
    return [session or "" for (session,) in rows]


def _read_marks(store: Store, sessions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what changes with the events of a session, its sub-agents', and with the rules for commands."""
    if not sessions:
        return {}
    rows = store.native("select session_id, max(id) from events group by session_id")
    newest = {session: int(number or 0) for session, number in rows}
    rules = read_rules().digest
    return {
        row["session_id"]: f"{max((newest.get(one, 0) for one in json.loads(row['members'])), default=0)} {rules}"
        for row in sessions
    }


def _read_changed(
    store: Store, sessions: Sequence[Mapping[str, Any]], marks: Mapping[str, str]
) -> dict[str, SessionOutcome]:
    """Return what the transcripts of some sessions say."""
    if not sessions:
        return {}
    if len(sessions) == len(marks):
        rows = _select(store, "shell_commands", "session_roots", "tool_results")
    else:
        members = [one for row in sessions for one in json.loads(row["members"])]
        rows = _select(store, "shell_commands", *_STAGED, session_ids=json.dumps(members))
    commands: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        commands[row["session_id"]].append(row)
    return {
        session: replace(_read_session(session, row["agent"], commands[session]), mark=marks[session])
        for row in sessions
        for session in (row["session_id"],)
    }


def _find_repositories(folders: Iterable[str]) -> dict[Repository | str, list[str]]:
    """Return the folders of each repository; of those without one, by the reason."""
    found: defaultdict[Repository | str, list[str]] = defaultdict(list)
    for folder in sorted(folders):
        try:
            repository = Repository.find(Path(folder))
        except RepositoryError as error:
            found[str(error)].append(folder)
        else:
            found[repository or "the repository is gone"].append(folder)
    return found


def _read_stored(store: Store) -> tuple[dict[str, SessionOutcome], dict[str, str]]:
    """Return the outcomes that are stored, and the folder of each session."""
    rows = _select(store, "stored_outcomes")
    folders = {row["session_id"]: row.pop("workspace") for row in rows}
    outcomes = [SessionOutcome(**{**row, "commit_ids": tuple(json.loads(row["commit_ids"]))}) for row in rows]
    return {one.session_id: one for one in outcomes}, folders


def _read_session(session: str, agent: str, commands: Iterable[Mapping[str, Any]]) -> SessionOutcome:
    """Return what the transcript of a session alone says; `commands` in order of time."""
    checks = 0
    passed: bool | None = None
    commits: list[str] = []
    request: str | None = None
    for row in commands:
        facts = read_command(row["command"] or "", failed=row["failed"], says=row["says"])
        if facts.check is not None:
            checks, passed = checks + 1, facts.passed
        if facts.commits:
            made = json.loads(row["commits"] or "[]")
            commits = [*dict.fromkeys([*commits, *made])]
            if facts.amends and made:
                commits = [*commits[:-2], commits[-1]]
        if facts.opens_pull_request or row["command"] is None:
            request = row["pull_request"] or request
    # Cursor's transcripts hardly ever hold a result, so that no commit in them means nothing.
    unknown = agent == "cursor" and not commits
    return SessionOutcome(
        session_id=session,
        checks=checks,
        checks_passed=passed,
        commits=None if unknown else len(commits),
        commit_ids=tuple(commits),
        pull_request=request,
    )


@dataclass(frozen=True, slots=True)
class _Question:
    """What git is asked about the sessions of one repository; a text instead of a repository says why it cannot be.

    `told` has what the transcripts say of every session of the repository, `known` what is stored.
    """

    store: Store
    repository: Repository | str
    told: Mapping[str, SessionOutcome]
    known: Mapping[str, SessionOutcome]
    now_ms: int

    def answer(self) -> dict[str, SessionOutcome]:
        """Return the outcomes of the sessions that made a commit, a pull request, or lines that git-ai noted."""
        if isinstance(self.repository, str):
            return self._refuse(self.repository)
        try:
            notes_tip, texts = self.repository.read_notes(REFERENCE)
            notes = {commit: _Note(blob, parse_note(text)) for commit, (blob, text) in texts.items()}
            told = self._concerned({session for note in notes.values() for session in note.sessions})
            found = self.repository.find_default_branch() if told else None
            if found is None:
                return self._refuse("the repository has no commit")
            _, tip = found
            state = f"{tip} {notes_tip}".strip()
            if all(self._is_settled(one, state) for one in told.values()):
                return {session: _repeat(one, self.known[session]) for session, one in told.items()}
            branch = DefaultBranch(tip, self.repository.read_log(tip))
            return self._ask(self.repository, branch, told, notes, state)
        except RepositoryError as error:
            return self._refuse(str(error))

    def _concerned(self, noted: Collection[str] = ()) -> dict[str, SessionOutcome]:
        return {
            session: one for session, one in self.told.items() if one.commit_ids or one.pull_request or session in noted
        }

    def _refuse(self, reason: str) -> dict[str, SessionOutcome]:
        """Return what the transcripts say, and what git said when it could be asked."""
        return {
            session: replace(_repeat(one, self.known.get(session, one)), reason=reason, branch_tip=None)
            for session, one in self._concerned().items()
        }

    def _is_settled(self, one: SessionOutcome, state: str) -> bool:
        before = self.known.get(one.session_id)
        return (
            before is not None
            and before.branch_tip == state
            and (before.commit_ids, before.pull_request) == (one.commit_ids, one.pull_request)
            and (before.due_ms is None or before.due_ms > self.now_ms)
        )

    def _ask(
        self,
        repository: Repository,
        branch: DefaultBranch,
        told: Mapping[str, SessionOutcome],
        notes: Mapping[str, _Note],
        state: str,
    ) -> dict[str, SessionOutcome]:
        requests = {commit: one.pull_request for one in told.values() for commit in one.commit_ids}
        landings = find_landings(repository, branch, requests, requests=requests)
        at_s = {entry.commit: entry.at_s for entry in branch.log}
        own = {commit: note for commit, note in notes.items() if commit in at_s}
        shared = _find_shared(told.values(), landings)
        parts = {session: _choose_parts(one, landings, shared, own) for session, one in told.items()}
        due_s = {
            part: at_s[part.partition(" ")[0]] + _SURVIVAL_DAYS * _DAY_S for these in parts.values() for part in these
        }
        later = _commits_at(branch, {part: due for part, due in due_s.items() if due * 1000 <= self.now_ms})
        lines = _Lines(self.store, repository, branch, own).count(due_s, later)
        found: dict[str, SessionOutcome] = {}
        for session, one in told.items():
            dues_ms = [due_s[part] * 1000 for part in parts[session]]
            due_ms = min((due for due in dues_ms if due > self.now_ms), default=None)
            answer = _combine(one, landings, parts[session], lines, later)
            found[session] = replace(answer, branch_tip=state, due_ms=due_ms)
        return found


class _Note(NamedTuple):
    """The note of one commit: its id, and the lines that sessions wrote."""

    blob: str
    claims: Claims

    @property
    def sessions(self) -> frozenset[str]:
        return frozenset(session for lines in self.claims.values() for _, _, session in lines)


def _choose_parts(
    told: SessionOutcome, landings: Mapping[str, Landing], shared: frozenset[str], notes: Mapping[str, _Note]
) -> tuple[str, ...]:
    """Return what the lines of a session are: what notes give it of each commit, else its landed commits.

    A part of a commit is written as the commit, a space and the session. Without notes, the lines of a commit that
    holds the work of several sessions are nobody's, and so are all lines of these sessions.
    """
    noted = [f"{commit} {told.session_id}" for commit, note in notes.items() if told.session_id in note.sessions]
    landed = {landings[commit].landed_as for commit in told.commit_ids}
    whole = sorted(commit for commit in landed if commit is not None)
    return tuple(noted or ([] if set(whole) & shared else whole))


def _repeat(told: SessionOutcome, before: SessionOutcome) -> SessionOutcome:
    """Return what a transcript says with what git said before."""
    answers = ("landed", "reverted", "lines_added", "lines_surviving", "reason", "branch_tip", "due_ms")
    return replace(told, **{name: getattr(before, name) for name in answers})


@dataclass(frozen=True, slots=True)
class _Lines:
    """Counts lines of commits and of parts of them; a count never changes, so it is kept in the store."""

    store: Store
    repository: Repository
    branch: DefaultBranch
    notes: Mapping[str, _Note]

    def count(self, parts: Iterable[str], later: Mapping[str, str]) -> dict[tuple[str, str], int]:
        """Return the lines of each part as they were added, by (part, ""), and at later commits, by (part, commit)."""
        added = {part: self._key(part, part.partition(" ")[0]) for part in parts}
        wanted = {(part, ""): (part, key) for part, key in added.items()}
        wanted |= {(part, at): (part, self._key(part, at)) for part, at in later.items()}
        known = self._read({part for part, _ in wanted})
        missing = [pair for pair, key in wanted.items() if key not in known]
        counted = self._count_added([part for part, at in missing if not at])
        asked: defaultdict[str, set[str]] = defaultdict(set)
        for part, at in missing:
            if at:
                asked[at].add(part)
        claims = {commit: note.claims for commit, note in self.notes.items()}
        left = count_surviving(self.repository, self.branch.log, asked, claims=claims)
        counted |= {(part, at): count for (at, part), count in left.items()}
        self._write({wanted[pair]: count for pair, count in counted.items()})
        return {pair: counted[pair] if pair in counted else known[key] for pair, key in wanted.items()}

    def _key(self, part: str, at: str) -> str:
        """Return the commit at which a part is counted, with the id of the note that says what the part is."""
        commit, _, session = part.partition(" ")
        return f"{at} {self.notes[commit].blob}" if session else at

    def _count_added(self, parts: list[str]) -> dict[tuple[str, str], int]:
        whole = [part for part in parts if " " not in part]
        counted = {(one, ""): sum(paths.values()) for one, paths in self.repository.read_line_counts(whole).items()}
        for part in parts:
            commit, _, session = part.partition(" ")
            if session:
                counted[part, ""] = count_claimed(self.notes[commit].claims).get(session, 0)
        return counted

    def _read(self, parts: Collection[str]) -> dict[tuple[str, str], int]:
        rows = self.store.native(
            "select commit_id, at_commit, lines from ka_lines where commit_id in (select value from json_each(?))",
            json.dumps(sorted(parts)),
        )
        return {(part or "", at or ""): int(count or 0) for part, at, count in rows}

    def _write(self, counted: Mapping[tuple[str, str], int]) -> None:
        if not counted:
            return
        self.store.native(
            "insert or replace into ka_lines (commit_id, at_commit, lines) "
            "select value->>0, value->>1, value->>2 from json_each(?) returning 1",
            json.dumps([(*pair, count) for pair, count in counted.items()]),
        )


def _commits_at(branch: DefaultBranch, times_s: Mapping[str, int]) -> dict[str, str]:
    """Return, for each key, the commit that the branch pointed to at a time.

    That is the newest of its first parents that is not younger, else the oldest of them.
    """
    known = {entry.commit: entry for entry in branch.log}
    line: list[LoggedCommit] = []
    commit: str | None = branch.tip
    while commit in known:
        line.append(known[commit])
        commit = next(iter(line[-1].parents), None)
    oldest_s = [*accumulate((entry.at_s for entry in line), min)]  # clocks may go back
    places = {key: bisect_left(oldest_s, -at_s, key=neg) for key, at_s in times_s.items()}
    return {key: line[min(place, len(line) - 1)].commit for key, place in places.items()}


def _find_shared(told: Iterable[SessionOutcome], landings: Mapping[str, Landing]) -> frozenset[str]:
    """Return the landed commits that hold the work of several sessions; nobody can say whose their lines are."""
    sessions = Counter(
        commit
        for one in told
        for commit in {landings[given].landed_as for given in one.commit_ids}
        if commit is not None
    )
    return frozenset(commit for commit, count in sessions.items() if count > 1)


def _combine(
    told: SessionOutcome,
    landings: Mapping[str, Landing],
    parts: Collection[str],
    lines: Mapping[tuple[str, str], int],
    later: Mapping[str, str],
) -> SessionOutcome:
    own = [landings[commit] for commit in told.commit_ids]
    noted = any(" " in part for part in parts)
    is_due = bool(parts) and set(parts) <= later.keys()
    return replace(
        told,
        landed=True if noted else _any(one.landed for one in own),
        reverted=_any(one.reverted for one in own if one.landed),
        lines_added=sum(lines[part, ""] for part in parts) if parts else None,
        lines_surviving=sum(lines[part, later[part]] for part in parts) if is_due else None,
    )


def _any(values: Iterable[bool | None]) -> bool | None:
    """Return True if one value is, None if none is and one is unknown, or there is none."""
    known = [*values]
    if True in known:
        return True
    return None if None in known or not known else False


def _write_outcomes(store: Store, outcomes: Collection[SessionOutcome], *, now_ms: int) -> None:
    """Store outcomes in place of earlier ones of the same sessions."""
    if not outcomes:
        return
    rows = [{**asdict(one), "commit_ids": json.dumps(one.commit_ids), "computed_at_ms": now_ms} for one in outcomes]
    values = ", ".join(f"value->>'{name}'" for name in rows[0])
    store.native(
        f"insert or replace into ka_outcomes ({', '.join(rows[0])}) select {values} from json_each(?) returning 1",
        json.dumps(rows),
    )
