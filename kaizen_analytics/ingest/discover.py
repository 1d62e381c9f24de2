"""The only walk over agents' home folders: which transcripts there are, and their size and time.

Folders are read with one `scandir` each; files are not opened. Only regular files count: a FIFO would block, and a
link could lead anywhere.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError, did_you_mean
from kaizen_analytics.ingest.records import Agent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

DATABASE_NAME = "state.vscdb"
COMPRESSED_SUFFIX = ".zst"
"""Codex compresses a rollout that was left alone for some days: `x.jsonl` becomes `x.jsonl.zst`."""

_AGENT_FOLDERS = (".claude", ".codex", ".cursor")

DOCUMENT_SUFFIX = ".json"
"""Codex builds of spring 2025 kept a session as one JSON document."""

TEXT_SUFFIX = ".txt"
"""Cursor builds up to early 2026 kept a session as text."""

_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One transcript, or one Cursor database, as it lay there when it was found.

    `size_bytes` and `mtime_ns` of a database include its write-ahead log.
    """

    path: Path
    agent: Agent
    size_bytes: int
    mtime_ns: int

    @property
    def is_database(self) -> bool:
        """Whether this is a Cursor `state.vscdb`."""
        return self.path.name == DATABASE_NAME

    @property
    def is_compressed(self) -> bool:
        """Whether this is a Zstandard file; its size is that of the compressed bytes."""
        return self.path.suffix == COMPRESSED_SUFFIX

    @property
    def is_document(self) -> bool:
        """Whether this is one JSON document instead of lines of them."""
        return self.path.suffix == DOCUMENT_SUFFIX

    @property
    def is_text(self) -> bool:
        """Whether this is text instead of JSON."""
        return self.path.suffix == TEXT_SUFFIX

    @property
    def is_read_whole(self) -> bool:
        """Whether its lines are not those of the file on disk, so that no offset leads back to one of them."""
        return self.is_compressed or self.is_document or self.is_text

    @property
    def stem(self) -> str:
        """The file's name without its endings, which names the session."""
        name = self.path.name.removesuffix(COMPRESSED_SUFFIX)
        return name.removesuffix(".jsonl").removesuffix(DOCUMENT_SUFFIX).removesuffix(TEXT_SUFFIX)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that one agent keeps its transcripts under."""

    path: Path
    agent: Agent


def parse_agents(names: Iterable[str]) -> frozenset[Agent]:
    """Return the agents with these names (`claude_code`, `codex`, `cursor`); no name means all.

    Raises:
        ConfigError: a name is none of them.
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
    """
    found = [root for home in homes or () for root in _existing_roots(home)]
    if homes is None:
        home = Path(environment.get("HOME") or Path.home())
        found = [*_variable_roots(environment), *_home_roots(home)]
    unique = {(root.path.resolve(), root.agent): root for root in reversed(found) if root.path.is_dir()}
    return list(reversed(unique.values()))


def discover(roots: Iterable[Root], agents: frozenset[Agent]) -> list[Source]:
    """Return every transcript under the roots, by path."""
    found: dict[Path, Source] = {}
    for root in roots:
        if root.agent in agents:
            for source in _walk(root):
                found.setdefault(source.path, source)
    return sorted(found.values(), key=lambda source: source.path)


def look_at(path: Path, roots: Iterable[Root]) -> Source | None:
    """Return the source at one path, or None where nothing (that is ours) lies there."""
    for root in roots:
        if path.is_relative_to(root.path) and _wanted(path, root.agent):
            return _stat(path, root.agent)
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
    for folder in _cursor_user_folders(home):
        yield Root(folder / "workspaceStorage", Agent.CURSOR)
        yield Root(folder / "globalStorage", Agent.CURSOR)
    # Databases that were copied somewhere: in the given folder itself, or one below.
    for database in (home / DATABASE_NAME, *sorted(home.glob(f"*/{DATABASE_NAME}"))):
        if database.is_file():
            yield Root(database.parent, Agent.CURSOR)


def _cursor_user_folders(home: Path) -> tuple[Path, ...]:
    if sys.platform == "darwin":
        return (home / "Library/Application Support/Cursor/User",)
    if sys.platform == "win32":
        return (home / "AppData/Roaming/Cursor/User",)
    return (home / ".config/Cursor/User",)


def _wanted(path: Path, agent: Agent) -> bool:
    if agent is Agent.CODEX:
        early = path.name.startswith("rollout-") and path.suffix == DOCUMENT_SUFFIX
        return early or path.name.endswith((".jsonl", ".jsonl" + COMPRESSED_SUFFIX))
    if agent is not Agent.CURSOR:
        return path.suffix == ".jsonl"
    transcript = path.suffix in (".jsonl", TEXT_SUFFIX) and "agent-transcripts" in path.parts
    return transcript or path.name == DATABASE_NAME


def _walk(root: Root) -> Iterator[Source]:
    pending = [(root.path, 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # gone since its parent was read, or not ours to read
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if depth < _MAX_DEPTH:
                    pending.append((Path(entry.path), depth + 1))
            elif _wanted(path := Path(entry.path), root.agent):
                source = _stat(path, root.agent)
                if source is not None:
                    yield source


def _stat(path: Path, agent: Agent) -> Source | None:
    try:
        facts = path.lstat()
        size, modified = facts.st_size, facts.st_mtime_ns
        if (facts.st_mode & 0o170000) != 0o100000:
            return None
        if path.name == DATABASE_NAME:
            log = path.with_name(path.name + "-wal")
            if log.exists():
                size, modified = size + log.stat().st_size, max(modified, log.stat().st_mtime_ns)
    except OSError:
        return None
    return Source(path, agent, size, modified)
