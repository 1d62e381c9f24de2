"""The only walk over agents' home folders: which transcripts there are, and their size and time.

Folders are read with one `scandir` each; files are not opened. Links are followed, but every file and folder counts
once, by its real path first. Only regular files count: a FIFO would block. Whatever is passed over is named.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.ingest.records import LAST_MS, Agent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DATABASE_NAME = "state.vscdb"
CHAT_NAME = "store.db"
"""Cursor's command line keeps each session in a database of its own."""

_COMPRESSED_SUFFIXES = (".zst", ".gz")
"""Codex compresses a rollout that was left alone for some days: `x.jsonl` becomes `x.jsonl.zst`. People use gzip."""

_AGENT_FOLDERS = (".claude", ".codex", ".cursor")

_DOCUMENT_SUFFIX = ".json"
"""Codex builds of spring 2025 kept a session as one JSON document."""

_TEXT_SUFFIX = ".txt"
"""Cursor builds up to early 2026 kept a session as text."""

_MAX_DEPTH = 12
_COWORK = "local-agent-mode-sessions"
"""Sessions of Claude's desktop program; each has a home of its own below."""

_USER_FOLDERS = (".config", "Library/Application Support", "AppData/Roaming")
"""Where programs keep their data on Linux, macOS and Windows; a home may come from another system."""


@dataclass(frozen=True, slots=True)
class Source:
    """One transcript, or one Cursor database, as it lay there when it was found.

    `size_bytes` and `mtime_ns` of a database include its write-ahead log.
    """

    path: Path
    agent: Agent
    size_bytes: int
    mtime_ns: int

    def __post_init__(self) -> None:
        # A wrong clock may tell what no store holds.
        object.__setattr__(self, "mtime_ns", min(max(self.mtime_ns, -(2**63)), 2**63 - 1))

    @property
    def mtime_ms(self) -> int:
        """When it was last written, in milliseconds, within what counts as a time: a clock may be wrong."""
        return min(max(self.mtime_ns // 1_000_000, 0), LAST_MS - 1)

    @property
    def is_database(self) -> bool:
        """Whether this is one of Cursor's databases, which hold conversations."""
        return self.path.name in (DATABASE_NAME, CHAT_NAME)

    @property
    def is_compressed(self) -> bool:
        """Whether this is a Zstandard or gzip file; its size is that of the compressed bytes."""
        return str(self.path).endswith(_COMPRESSED_SUFFIXES)

    @property
    def is_document(self) -> bool:
        """Whether this is one JSON document instead of lines of them."""
        return str(self.path).endswith(_DOCUMENT_SUFFIX)

    @property
    def is_text(self) -> bool:
        """Whether this is text instead of JSON."""
        return str(self.path).endswith(_TEXT_SUFFIX)

    @property
    def is_read_whole(self) -> bool:
        """Whether its lines are not those of the file on disk, so that no offset leads back to one of them."""
        return self.is_compressed or self.is_document or self.is_text

    @property
    def stem(self) -> str:
        """The file's name without its endings, which names the session."""
        name = _uncompressed(self.path.name)
        return name.removesuffix(".jsonl").removesuffix(_DOCUMENT_SUFFIX).removesuffix(_TEXT_SUFFIX)


class Root(NamedTuple):
    """A folder that one agent keeps its transcripts under."""

    path: Path
    agent: Agent


class PassedOver(NamedTuple):
    """A file or a folder that could hold sessions and was not read."""

    path: Path
    reason: str


@dataclass(slots=True)
class _Found:
    """What a walk found: the transcripts by path, and what it passed over."""

    sources: list[Source] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


def parse_agents(names: Iterable[str]) -> frozenset[Agent]:
    """Return the agents with these names (`claude_code`, `codex`, `cursor`); no name means all.

    Raises:
        ConfigError: a name is none of them.

    >>> sorted(agent.value for agent in parse_agents(["codex", "Claude-Code"]))
    ['claude_code', 'codex']
    """
    known = [agent.value for agent in Agent]
    chosen = set()
    for name in names:
        plain = name.lower().replace("-", "_")
        if plain not in known:
            raise ConfigError(f"agent is {name!r}; expected one of {', '.join(known)}.{did_you_mean(plain, known)}")
        chosen.add(Agent(plain))
    return frozenset(chosen or Agent)


def find_roots(homes: Sequence[Path] | None, environment: Mapping[str, str]) -> list[Root]:
    """Return the folders to look in, those that exist, each once.

    Args:
        homes: Home folders; None means the user's own, with `CLAUDE_CONFIG_DIR` and `CODEX_HOME` honoured.
        environment: The process environment.

    Raises:
        ConfigError: a home that was named is not a folder, or no agent keeps anything there.

    >>> (tmp / ".codex" / "sessions").mkdir(parents=True)
    >>> [(root.path.name, root.agent.value) for root in find_roots([tmp], {})]
    [('sessions', 'codex')]
    """
    found = [root for home in homes or () for root in _existing_roots(home)]
    if homes is None:
        home = Path(environment.get("HOME") or Path.home())
        found = [*_variable_roots(environment), *_home_roots(home)]
    unique = {(root.path.resolve(), root.agent): root for root in reversed(found) if root.path.is_dir()}
    return list(reversed(unique.values()))


def discover(roots: Iterable[Root], agents: frozenset[Agent]) -> _Found:
    """Return every transcript under the roots, and what was passed over.

    >>> _ = (tmp / "rollout-1.jsonl").write_text("{}")
    >>> [source.path.name for source in discover([Root(tmp, Agent.CODEX)], frozenset(Agent)).sources]
    ['rollout-1.jsonl']
    """
    walk = _Walk()
    for root in roots:
        if root.agent in agents:
            walk.add(root)
    walk.follow_links()
    walk.found.sources.sort(key=lambda source: source.path)
    return walk.found


def cut(sources: Iterable[Source], most_bytes: int, most_files: int) -> Iterator[list[Source]]:
    """Yield sources in groups, none of which is larger unless it is a single file.

    >>> found = [Source(Path(name), Agent.CODEX, 40, 0) for name in "abc"]
    >>> [len(group) for group in cut(found, most_bytes=100, most_files=9)]
    [2, 1]
    """
    group: list[Source] = []
    size = 0
    for source in sources:
        if group and (size + source.size_bytes > most_bytes or len(group) == most_files):
            yield group
            group, size = [], 0
        group.append(source)
        size += source.size_bytes
    if group:
        yield group


def file_of(path: str) -> str:
    """Return the file that a path in the store leads to: a conversation has that of its database, `#` and its name.

    >>> file_of("/home/c#/.config/Cursor/User/globalStorage/state.vscdb#c1"), file_of("/home/c#/a.jsonl")
    ('/home/c#/.config/Cursor/User/globalStorage/state.vscdb', '/home/c#/a.jsonl')
    """
    if "#" not in path:  # nearly all
        return path
    database = next((name for name in (DATABASE_NAME, CHAT_NAME) if f"/{name}#" in path.replace("\\", "/")), None)
    return path if database is None else path[: path.rindex(f"{database}#") + len(database)]


def look_at(path: Path, roots: Iterable[Root]) -> Source | None:
    """Return the source at one path, or None where nothing (that is ours) lies there.

    >>> _ = (tmp / "rollout-1.jsonl").write_text("{}")
    >>> look_at(tmp / "rollout-1.jsonl", [Root(tmp, Agent.CODEX)]).size_bytes
    2
    """
    for root in roots:
        if path.is_relative_to(root.path) and _wanted(path, root.agent):
            with contextlib.suppress(OSError):
                facts = path.stat()
                return _source(path, root.agent, facts) if stat.S_ISREG(facts.st_mode) else None
    return None


def _existing_roots(home: Path) -> list[Root]:
    if not home.is_dir():
        raise ConfigError(f"The home {home} is not a folder; expected one that holds .claude, .codex or .cursor.")
    found = [root for root in _home_roots(home.absolute()) if root.path.is_dir()]
    if not found:
        near = (home.absolute().parent, *(path.parent for name in _AGENT_FOLDERS for path in home.glob(f"*/{name}")))
        right = next((path for path in near if any(root.path.is_dir() for root in _home_roots(path))), None)
        raise ConfigError(
            f"No agent keeps sessions in {home}; expected a folder that holds .claude, .codex or .cursor."
            + ("" if right is None else f" Did you mean {right}?")
        )
    return found


def _variable_roots(environment: Mapping[str, str]) -> Iterator[Root]:
    for folder in environment.get("CLAUDE_CONFIG_DIR", "").split(","):
        if folder.strip():
            yield Root(Path(folder.strip()).expanduser() / "projects", Agent.CLAUDE_CODE)
    if codex := environment.get("CODEX_HOME"):
        yield Root(Path(codex).expanduser() / "sessions", Agent.CODEX)
        yield Root(Path(codex).expanduser() / "archived_sessions", Agent.CODEX)


def _home_roots(home: Path) -> Iterator[Root]:
    for claude in (".claude", ".config/claude"):
        yield Root(home / claude / "projects", Agent.CLAUDE_CODE)
    for codex in ("sessions", "archived_sessions"):
        yield Root(home / ".codex" / codex, Agent.CODEX)
    yield Root(home / ".cursor/projects", Agent.CURSOR)
    yield Root(home / ".cursor/chats", Agent.CURSOR)
    # A program from Windows' store has a folder of its own for what it writes there.
    packages = sorted(home.glob("AppData/Local/Packages/*Claude_*/LocalCache/Roaming"))
    for data in (*(home / folder for folder in _USER_FOLDERS), *packages):
        yield Root(data / "Claude" / _COWORK, Agent.CLAUDE_CODE)
        yield Root(data / "Cursor/User/workspaceStorage", Agent.CURSOR)
        yield Root(data / "Cursor/User/globalStorage", Agent.CURSOR)
    # Databases that were copied somewhere: in the given folder itself, or one below.
    for database in (home / DATABASE_NAME, *sorted(home.glob(f"*/{DATABASE_NAME}"))):
        if database.is_file():
            yield Root(database.parent, Agent.CURSOR)


def _wanted(path: Path, agent: Agent) -> bool:
    name, has_lines = path.name, _uncompressed(path.name).endswith(".jsonl")
    if agent is Agent.CODEX:
        return has_lines or (name.startswith("rollout-") and name.endswith(_DOCUMENT_SUFFIX))
    if agent is not Agent.CURSOR:
        # Beside its homes, the desktop program keeps logs that repeat what the transcripts say.
        return has_lines and (_COWORK not in path.parts or ".claude" in path.parts)
    transcript = (has_lines or name.endswith(_TEXT_SUFFIX)) and "agent-transcripts" in path.parts
    return transcript or name == DATABASE_NAME or (name == CHAT_NAME and "chats" in path.parts)


def _uncompressed(name: str) -> str:
    for suffix in _COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


class _Walk:
    """Collects transcripts. Links wait until everything else was seen, so that a real path names what it leads to."""

    def __init__(self) -> None:
        self.found = _Found()
        self._seen: set[tuple[int, int]] = set()
        self._links: list[tuple[Path, Agent, int]] = []

    def add(self, root: Root) -> None:
        """Walk over one folder."""
        self._enter(root.path, root.agent, 0)

    def follow_links(self) -> None:
        """Walk over what the links lead to that were met so far, and over the links in there."""
        while self._links:
            path, agent, depth = self._links.pop(0)
            try:
                is_folder = stat.S_ISDIR(path.stat().st_mode)
            except OSError:
                self._pass_over(path, "a link that leads nowhere")
                continue
            if is_folder:
                self._enter(path, agent, depth)
            else:
                self._take(path, agent)

    def _enter(self, top: Path, agent: Agent, depth: int) -> None:
        pending = [(top, depth)]
        while pending:
            folder, depth = pending.pop()
            try:
                facts = folder.stat()
                if self._is_known(facts):
                    continue
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except FileNotFoundError:
                continue  # gone since its parent was read
            except OSError as error:
                self._pass_over(folder, f"a folder that cannot be read ({error.strerror})")
                continue
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    self._links.append((path, agent, depth + 1))
                elif entry.is_dir(follow_symlinks=False):
                    if depth < _MAX_DEPTH:
                        pending.append((path, depth + 1))
                    else:
                        self._pass_over(path, f"a folder deeper than {_MAX_DEPTH} levels")
                else:
                    self._take(path, agent)

    def _take(self, path: Path, agent: Agent) -> None:
        if not _wanted(path, agent):
            if ".jsonl" in path.name.lower() and not _uncompressed(path.name).endswith(".jsonl"):
                self._pass_over(path, "a transcript whose name does not end in .jsonl")
            return
        try:
            facts = path.stat()
        except OSError:
            return
        if not stat.S_ISREG(facts.st_mode):
            self._pass_over(path, "not a regular file")
        elif not _is_text(str(path)):
            self._pass_over(path, "a name that is not UTF-8")
        elif not self._is_known(facts) or facts.st_nlink > 1:  # a copy by a hard link has a name of its own
            self.found.sources.append(_source(path, agent, facts))

    def _is_known(self, facts: os.stat_result) -> bool:
        place = (facts.st_dev, facts.st_ino)
        known = place in self._seen
        self._seen.add(place)
        return known and facts.st_ino != 0  # some file systems number nothing

    def _pass_over(self, path: Path, reason: str) -> None:
        self.found.passed_over.append(PassedOver(path, reason))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _source(path: Path, agent: Agent, facts: os.stat_result) -> Source:
    size, modified = facts.st_size, facts.st_mtime_ns
    if path.name in (DATABASE_NAME, CHAT_NAME):
        with contextlib.suppress(OSError):  # most have no log
            log = path.with_name(path.name + "-wal").stat()
            size, modified = size + log.st_size, max(modified, log.st_mtime_ns)
    return Source(path, agent, size, modified)
