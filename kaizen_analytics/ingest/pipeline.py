"""The incremental run: discover, read the files that changed, derive their sessions again, and replace those.

Each batch of files is one transaction that holds its rows, its claims on records and its checkpoints, so a run that
is killed loses and doubles nothing. Files are read before the transaction; inside it the checkpoints are compared
again, and a file that another ingest advanced meanwhile is read once more.
"""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import IngestError
from kaizen_analytics.core.folders import is_in_folder, normalise_folder
from kaizen_analytics.ingest.checkpoints import Checkpoint, load_checkpoints
from kaizen_analytics.ingest.cursor_database import read_database
from kaizen_analytics.ingest.discover import PassedOver, Source, cut, discover, file_of, find_roots
from kaizen_analytics.ingest.disk import count_kept
from kaizen_analytics.ingest.gitref import load_places
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.readers import Readers
from kaizen_analytics.ingest.reading import FAULTS, Work, read_source
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.ingest.rows import Row
from kaizen_analytics.ingest.summary import AgentSummary, IngestSummary
from kaizen_analytics.ingest.writing import Batch
from kaizen_analytics.store.sessions import attribute_sessions, list_unattributed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.store import Store

_BATCH_BYTES = 48 * 1024 * 1024
_BATCH_FILES = 4000
_ATTEMPTS = 5


def run_ingest(
    store: Store,
    homes: Sequence[Path] | None = None,
    *,
    agents: Iterable[Agent] | None = None,
    since_ms: int | None = None,
    workspace: Path | None = None,
    full: bool = False,
    prices: PriceList | None = None,
    progress: Callable[[int, int], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> IngestSummary:
    r"""Bring a store up to date with the transcripts under some home folders.

    Args:
        store: The store to write to.
        homes: Home folders; None means the user's own and the folders that the environment names.
        agents: Whose transcripts to read; None means all.
        since_ms: Leave out files last written before this time (milliseconds since the epoch).
        workspace: Take only sessions that ran in this folder or below; None takes all.
        full: Read every file again from its start.
        prices: Prices of models; None means those of genai-prices.
        progress: Called after each batch with how many bytes of how many are done.
        environment: The process environment; None means the real one.

    Raises:
        ConfigError: a home is not a folder.
        StoreError: the store cannot be written.

    >>> from kaizen_analytics.store import Store
    >>> (tmp / ".codex" / "sessions").mkdir(parents=True)
    >>> _ = (tmp / ".codex" / "sessions" / "rollout-1.jsonl").write_text("not JSON\n")
    >>> with Store.open(tmp / "new.db", create=True) as made:
    ...     summary = run_ingest(made, [tmp])
    >>> dict(summary.agents[Agent.CODEX].rejects)
    {'not_json': 1}
    """
    roots = find_roots(homes, os.environ if environment is None else environment)
    chosen = frozenset(agents) if agents is not None else frozenset(Agent)
    found = discover(roots, chosen)
    sources = [s for s in found.sources if since_ms is None or s.mtime_ns >= since_ms * 1_000_000]
    run = Ingest(store, workspace=workspace, prices=prices or PriceList(), agents=chosen)
    run.read(sources, full=full, progress=progress)
    run.attribute()
    return run.summarise(sources, found.passed_over)


class Ingest:
    """One run, or a series of them: it keeps the checkpoints and answers about places between reads."""

    def __init__(
        self,
        store: Store,
        *,
        workspace: Path | None = None,
        prices: PriceList | None = None,
        agents: Iterable[Agent] = tuple(Agent),
    ) -> None:
        self.store = store
        self.prices = prices or PriceList()
        self._workspace = None if workspace is None else normalise_folder(str(workspace.resolve()))
        self.places = load_places(store, self._workspace)
        self._rows = load_checkpoints(store)
        self._damaged = _find_damaged(store, self._rows.values())
        self._agents = frozenset(agents)
        self._summaries = {agent: AgentSummary() for agent in Agent}
        self._warnings: list[str] = []
        self._opened: set[str] = set()
        self._mended: set[str] = set()
        self._known: dict[str, int] | None = None
        self.news: list[tuple[Row, bool, Agent]] = []
        """What is new since `go_live`, whoever wrote it: rows, whether they were known before, and their agents."""

    def go_live(self) -> None:
        """Collect news from now on: the events of each session behind those that the store has now."""
        self._known = _count_events(self.store)

    def read(
        self, sources: Sequence[Source], *, full: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Read and store what is new in some sources."""
        changed = [source for source in sources if full or self._is_changed(source)]
        total = sum(source.size_bytes for source in changed)
        done = 0
        with _collection_paused(), Readers(changed, self._rows) as readers:
            for batch in cut(changed, _BATCH_BYTES, _BATCH_FILES):
                files = [source for source in batch if not source.is_database]
                self._store_batch(files, self._read_all(files, readers, full=full))
                for source in batch:
                    if source.is_database:
                        self._store_database(source)
                    done += source.size_bytes
                if progress is not None:
                    progress(done, total)

    def attribute(self) -> None:
        """Note who ran the sessions of each workspace that is a repository of this machine; what is noted stays."""
        for workspace in list_unattributed(self.store):
            user, organisation = self.places.people_of(workspace)
            if user or organisation:
                attribute_sessions(self.store, workspace, user, organisation)

    def summarise(self, sources: Sequence[Source], passed_over: Sequence[PassedOver] = ()) -> IngestSummary:
        """Return totals over some sources, and what was read so far."""
        by_path = {str(source.path): source for source in sources}
        databases = {path for path, source in by_path.items() if source.is_database}
        found: dict[tuple[Agent, str], None] = {}
        for path, source in by_path.items():
            summary = self._summaries[source.agent]
            summary.files += 1
            summary.files_read += path in self._opened
            summary.databases += path in databases
            if row := self._rows.get(path):
                summary.add_file(row)
                found[source.agent, row.stored_as or ""] = None
                torn = 0 < row.read_bytes < source.size_bytes and path not in databases
                summary.waiting += torn
        for path, row in self._rows.items():
            if databases and path.rpartition("#")[0] in databases:
                self._summaries[Agent.CURSOR].add_file(row)
                self._summaries[Agent.CURSOR].conversations += 1
                found[Agent.CURSOR, row.stored_as or ""] = None
        tallies = {(row.agent, row.stored_as): row.tally for row in self._rows.values() if row.tally.get("events")}
        for agent, session in found:
            if tally := tallies.get((agent, session)):
                self._summaries[agent].add_session(tally)
        for summary in self._summaries.values():
            summary.new_events = max(summary.new_events, 0)  # a newer parser may read fewer events than were stored
        for name, kept in count_kept(self._rows.values(), by_path).items():
            told = self._summaries[name]
            told.kept_sessions, told.kept_events, told.kept_prompts = kept.sessions, kept.events, kept.prompts
        warnings = [*self._warnings, *self._named_warnings(), *_name_passed_over(passed_over)]
        return IngestSummary(
            {agent: told for agent, told in self._summaries.items() if agent in self._agents}, warnings
        )

    def _named_warnings(self) -> Iterator[str]:
        unknown: dict[str, int] = {}
        for summary in self._summaries.values():
            for model, count in summary.unknown_models.items():
                unknown[model] = unknown.get(model, 0) + count
        for model, count in sorted(unknown.items()):
            yield (
                f"No price is known for model {model!r}: {count} responses have no cost. "
                "Give one with --prices FILE (see 'kaizen-analytics prices --help')."
            )
        yield from sorted(self.places.problems)
        lost = sorted(self._damaged - self._mended)
        if lost:
            yield (
                f"{len(lost)} sessions lost events that were stored, and their files are gone: {', '.join(lost[:3])}. "
                "Restore the store from a backup."
            )

    def _is_changed(self, source: Source) -> bool:
        row = self._rows.get(str(source.path))
        if row is None or not row.is_current(source) or row.session_id in self._damaged:
            return True
        outside = row.tally.get("outside")
        return outside is not None and outside != self._workspace

    def _read_all(self, sources: Sequence[Source], readers: Readers | None = None, *, full: bool) -> list[Work]:
        works = [self._read(source, readers) for source in sources]
        return [work for work in works if work is not None and (full or not work.is_known or self._is_damaged(work))]

    def _is_damaged(self, work: Work) -> bool:
        return work.session_id in self._damaged

    def _store_batch(self, sources: Sequence[Source], works: list[Work]) -> None:
        for _ in range(_ATTEMPTS):
            if not works:
                return
            try:
                batch = self._commit(works)
            except FAULTS as error:
                self._store_apart(works, error)
                return
            if not batch.overtaken:
                return
            self._rows |= load_checkpoints(self.store)
            again = {work.path for work in batch.overtaken}
            works = self._read_all([source for source in sources if str(source.path) in again], full=True)
        names = ", ".join(work.path for work in works[:3])
        raise IngestError(f"{names} changed faster than they could be stored; stop the other ingest, then try again.")

    def _store_apart(self, works: Sequence[Work], error: Exception) -> None:
        """Store each file of a batch on its own, so that only the one that fails is left out."""
        if len(works) == 1:
            self._note_fault(works[0].agent, works[0].path, error)
            return
        for work in works:
            try:
                self._commit([work])
            except FAULTS as fault:
                self._note_fault(work.agent, work.path, fault)

    def _commit(self, works: Sequence[Work]) -> Batch:
        batch = Batch(
            self.store, works, prices=self.prices, places=self.places, read=self._reread,
            leaves_out=self._leaves_out, known=self._known,
        )  # fmt: skip
        for row in batch.commit():
            self._rows[row.path] = row
        self._mended |= {work.session_id for work in batch.works.values()}
        if self._known is not None:
            self.news += batch.news
            self._known |= batch.counted
        self._opened |= batch.works.keys()
        for work in batch.works.values():
            self._summaries[work.agent].bytes_read += work.end
        for agent, count in batch.new_events.items():
            self._summaries[agent].new_events += count
        return batch

    def _read(self, source: Source, readers: Readers | None) -> Work | None:
        row = self._rows.get(str(source.path))
        try:
            return (readers and readers.take(source, row)) or read_source(source, row)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._summaries[source.agent].unreadable += 1
            self._warnings.append(f"{source.path} cannot be read: {error.strerror or error}.")
            return None
        except FAULTS as error:
            self._note_fault(source.agent, str(source.path), error)
            return None

    def _note_fault(self, agent: Agent, path: str, error: Exception) -> None:
        """Name a file on which this program failed; the other files are read."""
        self._summaries[agent].failed += 1
        self._warnings.append(f"{path} was left out: {type(error).__name__}: {error}. Please report this.")

    def _leaves_out(self, cwds: Iterable[str]) -> str | None:
        """Return the one workspace that is wanted, where none of some folders is in it."""
        if self._workspace is None or any(map(self._is_inside, dict.fromkeys(cwds))):
            return None
        return self._workspace

    def _is_inside(self, cwd: str) -> bool:
        return any(is_in_folder(place, self._workspace or "/") for place in (cwd, self.places.workspace_of(cwd)))

    def _reread(self, path: str) -> Work | None:
        """Read a file again, because its share of some records changed; None where it is gone."""
        row = self._rows.get(path)
        file = Path(file_of(path))
        if row is None or not file.is_file():
            return None
        facts = file.stat()
        source = Source(file, Agent(row.agent), facts.st_size, facts.st_mtime_ns)
        try:
            if source.is_database:
                works, _ = read_database(source, self._rows, only=path)
                return works[0] if works else None
            return read_source(source, row)
        except (IngestError, OSError):
            return None

    def _store_database(self, source: Source) -> None:
        summary = self._summaries[source.agent]
        try:
            works, rejects = read_database(source, self._rows)
        except (IngestError, OSError) as error:
            summary.unreadable += 1
            self._warnings.append(str(error))
            return
        except FAULTS as error:
            self._note_fault(source.agent, str(source.path), error)
            return
        marker = Work.of_database(source, self._rows.get(str(source.path)), rejects)
        changed = [work for work in works if not work.is_known or self._is_damaged(work)]
        try:
            self._commit([*changed, marker])
        except FAULTS as error:
            self._store_apart([*changed, marker], error)


def _name_passed_over(passed_over: Iterable[PassedOver]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for one in passed_over:
        by_reason.setdefault(one.reason, []).append(str(one.path))
    for reason, paths in sorted(by_reason.items()):
        yield f"Passed over {len(paths):,}: {reason}, such as {paths[0]}."


def _find_damaged(store: Store, rows: Iterable[Checkpoint]) -> set[str]:
    """Return the sessions that have fewer or more events than were written."""
    stored = _count_events(store)
    return {
        row.session_id
        for row in rows
        if row.tally.get("events") and stored.get(row.session_id, 0) != row.tally["events"]
    }


def _count_events(store: Store) -> dict[str, int]:
    counted = store.native("select session_id, count(*) from events group by session_id")
    return {str(session): int(count or 0) for session, count in counted}


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Keep the cyclic collector from walking over every event of a batch; nothing read forms a circle."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
