"""Live: events of running sessions as they are written, through the same parsers into the same store.

The watcher only says where to look. A folder that appears, moves or is deleted can lose its events, so the roots are
looked at again every second, and everything is walked again every few seconds and whenever a folder changed.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.discover import Root, Source, discover, find_roots, look_at
from kaizen_analytics.ingest.pipeline import Ingest
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.ingest.rows import EVENT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.ingest.pricing import PriceList
    from kaizen_analytics.store import Store

_TEXTS = frozenset({"session_id", "kind", "source", "tool", "payload", "tool_call_id", "stop_reason"})
"""The columns of events that are no numbers."""

_STEP_MS = 50
_DEBOUNCE_MS = 300
_IDLE_MS = 1000
_WALK_EVERY = 5
"""Idle seconds between two walks over everything."""


class LiveEvent(NamedTuple):
    """One event that was just stored; `columns` are those of the table `events`. `completed`: it was known before."""

    agent: Agent
    columns: Mapping[str, Any]
    completed: bool = False


def follow(
    store: Store,
    homes: Sequence[Path] | None = None,
    *,
    agents: Iterable[Agent] | None = None,
    workspace: Path | None = None,
    prices: PriceList | None = None,
    stop: threading.Event | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[LiveEvent]:
    """Store and yield new events until `stop` is set; what lay there before is stored first and not yielded.

    The parameters are those of `run_ingest`; `stop` ends the loop within a second.

    Raises:
        ConfigError: a home is not a folder, or no agent has ever run there.

    >>> from kaizen_analytics.store import Store
    >>> (tmp / ".codex" / "sessions").mkdir(parents=True)
    >>> stop = threading.Event()
    >>> stop.set()
    >>> with Store.open(tmp / "new.db", create=True) as made:
    ...     list(follow(made, [tmp], stop=stop))
    []
    """
    variables = os.environ if environment is None else environment
    chosen = frozenset(agents) if agents is not None else frozenset(Agent)
    watch = _FolderWatch(homes, variables, chosen, stop or threading.Event())
    run = Ingest(store, workspace=workspace, prices=prices, agents=chosen)
    run.read(discover(watch.roots, chosen).sources)
    run.go_live()
    for sources in watch.changes():
        run.read(sources)
        yield from _drain(run)


def _drain(run: Ingest) -> Iterator[LiveEvent]:
    news, run.news = run.news, []
    for row, completed, agent in news:
        told = dict(zip(EVENT_COLUMNS, row, strict=True))
        numbers = {name: int(cell) for name, cell in told.items() if cell is not None and name not in _TEXTS}
        yield LiveEvent(agent, told | numbers, completed)


class _FolderWatch:
    """Says which sources may have changed."""

    def __init__(
        self,
        homes: Sequence[Path] | None,
        environment: Mapping[str, str],
        agents: frozenset[Agent],
        stop: threading.Event,
    ) -> None:
        self._homes = homes
        self._environment = environment
        self._agents = agents
        self._stop = stop
        self._polls = False
        self.roots = self._find_roots()
        if not self.roots:
            looked = ", ".join(str(home) for home in homes) if homes else "your home folder"
            raise ConfigError(
                f"No agent has left a transcript under {looked}; expected .claude, .codex or .cursor there."
            )

    def _find_roots(self) -> list[Root]:
        return [root for root in find_roots(self._homes, self._environment) if root.agent in self._agents]

    def changes(self) -> Iterator[list[Source]]:
        """Yield sources to look at; a list may name sources that did not change."""
        while not self._stop.is_set():
            yield from self._watch_roots()
            self.roots = self._find_roots()
            yield discover(self.roots, self._agents).sources

    def _watch_roots(self) -> Iterator[list[Source]]:
        """Watch until the set of root folders changes."""
        if not self.roots or self._polls:
            self._stop.wait(_IDLE_MS / 1000)
            return
        try:
            yield from self._watch()
        except OSError:
            self._polls = True  # the system has no watch left to give: walk every second instead

    def _watch(self) -> Iterator[list[Source]]:
        import watchfiles

        before, idle = self._signature(), 0
        for changes in watchfiles.watch(
            *(root.path for root in self.roots),
            watch_filter=None,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_IDLE_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            ignore_permission_denied=True,
        ):
            idle = 0 if changes else idle + 1
            if changes:
                yield self._sources({Path(path) for _, path in changes})
            elif idle % _WALK_EVERY == 0:
                yield discover(self.roots, self._agents).sources
            if self._signature() != before:
                return

    def _signature(self) -> list[tuple[str, int]]:
        """Return the root folders as they are now; a folder that was replaced has another inode."""
        return [(str(root.path), root.path.stat().st_ino) for root in self._find_roots()]

    def _sources(self, paths: set[Path]) -> list[Source]:
        if any(path.is_dir() for path in paths):
            return discover(self.roots, self._agents).sources  # its files may have been written before it was watched
        named = {path.with_name(path.name.removesuffix("-wal").removesuffix("-shm")) for path in paths}
        found = (look_at(path, self.roots) for path in sorted(named))
        return [source for source in found if source is not None]
