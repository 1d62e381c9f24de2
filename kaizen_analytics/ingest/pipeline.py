"""The incremental run: discover, read what is new, decide who owns it, write it with its checkpoints.

Each batch of files is one transaction that holds its rows, its claims on records and its checkpoints, so a run that
is killed loses and doubles nothing. Files are read before the transaction; inside it the checkpoints are compared
again, and a file that another ingest advanced meanwhile is read once more.
"""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from kaizen_analytics.errors import IngestError
from kaizen_analytics.ingest.checkpoints import PARSER_VERSION, SLICE_BYTES, load_checkpoints
from kaizen_analytics.ingest.cursor_database import read_database
from kaizen_analytics.ingest.discover import Source, discover, find_roots
from kaizen_analytics.ingest.gitref import Places
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.reading import Work, read_source
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.ingest.summary import AgentSummary, IngestSummary
from kaizen_analytics.ingest.writing import Batch
from kaizen_analytics.store.sessions import attribute_sessions, list_unattributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from kaizen_analytics.store import Store

BATCH_BYTES = 48 * 1024 * 1024
BATCH_FILES = 400
_ATTEMPTS = 5


class Progress(Protocol):
    """Told after each batch how many bytes of how many are done."""

    def __call__(self, done_bytes: int, total_bytes: int) -> None: ...


def run_ingest(
    store: Store,
    homes: Sequence[Path] | None = None,
    *,
    agents: Iterable[Agent] | None = None,
    since_ms: int | None = None,
    workspace: Path | None = None,
    full: bool = False,
    adopt: bool = False,
    prices: PriceList | None = None,
    progress: Progress | None = None,
    environment: Mapping[str, str] | None = None,
) -> IngestSummary:
    """Bring a store up to date with the transcripts under some home folders.

    Args:
        store: The store to write to.
        homes: Home folders; None means the user's own and the folders that the environment names.
        agents: Whose transcripts to read; None means all.
        since_ms: Leave out files last written before this time (milliseconds since the epoch).
        workspace: Take only sessions that ran in this folder or below; None takes all.
        full: Read every file again from its start.
        adopt: Replace sessions that another tool wrote, instead of leaving them alone.
        prices: Prices of models; None means those of genai-prices.
        progress: Called after each batch.
        environment: The process environment; None means the real one.

    Raises:
        ConfigError: a home is not a folder.
        StoreError: the store cannot be written.
    """
    roots = find_roots(homes, os.environ if environment is None else environment)
    chosen = frozenset(agents) if agents is not None else frozenset(Agent)
    sources = [s for s in discover(roots, chosen) if since_ms is None or s.mtime_ns >= since_ms * 1_000_000]
    run = Ingest(store, workspace=workspace, adopt=adopt, prices=prices or PriceList(), agents=chosen)
    run.read(sources, full=full, progress=progress)
    run.attribute()
    return run.summarise(sources)


class Ingest:
    """One run, or a series of them: it keeps the checkpoints and answers about places between reads."""

    def __init__(
        self,
        store: Store,
        *,
        workspace: Path | None = None,
        adopt: bool = False,
        prices: PriceList | None = None,
        agents: Iterable[Agent] = tuple(Agent),
    ) -> None:
        self.store = store
        self.prices = prices or PriceList()
        self.places = Places()
        self._workspace = None if workspace is None else str(workspace.resolve())
        self._adopt = adopt
        self._rows = load_checkpoints(store)
        self._summaries = {agent: AgentSummary() for agent in Agent if agent in set(agents)}
        self._warnings: list[str] = []
        self._opened: set[str] = set()
        self.batches: list[Batch] = []
        self.keep_batches = False

    def read(self, sources: Sequence[Source], *, full: bool = False, progress: Progress | None = None) -> None:
        """Read and store what is new in some sources."""
        changed = [source for source in sources if full or self._is_changed(source)]
        total = sum(source.size_bytes for source in changed)
        done = 0
        with _collection_paused():
            for batch, works in self._read_ahead(changed, full=full):
                self._store_batch([source for source in batch if not source.is_database], works, full=full)
                for source in batch:
                    if source.is_database:
                        self._store_database(source)
                    done += source.size_bytes
                if progress is not None:
                    progress(done, total)

    def _read_ahead(self, sources: Sequence[Source], *, full: bool) -> Iterator[tuple[list[Source], list[Work]]]:
        """Yield each batch with what was read of it; the next one is read while the caller writes this one.

        SQLite writes without Python's lock, so the two overlap on a second core.
        """

        def read(batch: Sequence[Source]) -> list[Work]:
            return self._read_all([source for source in batch if not source.is_database], full=full)

        batches = list(_batches(sources))
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead: Future[list[Work]] | None = None
            for number, batch in enumerate(batches, start=1):
                works = read(batch) if ahead is None else ahead.result()
                ahead = reader.submit(read, batches[number]) if number < len(batches) else None
                yield batch, works
                del works

    def attribute(self) -> None:
        """Note who ran the sessions of each workspace that is a repository of this machine; what is noted stays."""
        for workspace in list_unattributed(self.store):
            user, organisation = self.places.people_of(workspace)
            if user or organisation:
                attribute_sessions(self.store, workspace, user, organisation)

    def summarise(self, sources: Sequence[Source]) -> IngestSummary:
        """Return totals over some sources, and what was read so far."""
        databases = {str(source.path) for source in sources if source.is_database}
        for source in sources:
            summary = self._summaries[source.agent]
            summary.files += 1
            summary.files_read += str(source.path) in self._opened
            summary.databases += source.is_database
            if row := self._rows.get(str(source.path)):
                summary.add(row)
                torn = 0 < row.read_bytes < row.size_bytes and not source.is_database
                summary.waiting += torn
        for path, row in self._rows.items():
            if path.rpartition("#")[0] in databases:
                self._summaries[Agent.CURSOR].add(row)
                self._summaries[Agent.CURSOR].conversations += 1
        return IngestSummary(self._summaries, [*self._warnings, *self._named_warnings()])

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
        foreign = sum(summary.foreign for summary in self._summaries.values())
        if foreign:
            yield f"{foreign} sessions hold rows of another tool and were left alone; 'ingest --adopt' replaces them."

    def _is_changed(self, source: Source) -> bool:
        row = self._rows.get(str(source.path))
        if row is None or not row.is_current(source):
            return True
        if row.foreign and self._adopt:
            return True
        outside = row.tally.get("outside")
        return outside is not None and outside != self._workspace

    def _read_all(self, sources: Sequence[Source], *, full: bool) -> list[Work]:
        return [work for source in sources if (work := self._read(source, full=full)) is not None]

    def _store_batch(self, sources: Sequence[Source], works: list[Work], *, full: bool) -> None:
        pending = list(sources)
        for _ in range(_ATTEMPTS):
            if not works:
                return
            batch = Batch(
                self.store, works, prices=self.prices, places=self.places, adopt=self._adopt, read=self._reread
            )
            self._commit(batch)
            again = {work.path for work in batch.overtaken} | {work.path for work in works if work.more}
            pending = [source for source in pending if str(source.path) in again]
            if batch.overtaken:
                self._rows |= load_checkpoints(self.store)
            elif any(work.more for work in works):
                self._store_rest(pending)
                return
            works = self._read_all(pending, full=full)
        if pending:
            names = ", ".join(str(source.path) for source in pending[:3])
            raise IngestError(
                f"{names} changed faster than they could be stored; stop the other ingest, then try again."
            )

    def _store_rest(self, sources: Sequence[Source]) -> None:
        """Go on with files that were larger than one slice."""
        for source in sources:
            while (row := self._rows.get(str(source.path))) is not None and row.read_bytes < source.size_bytes:
                before = row.read_bytes
                work = self._read(source, full=False)
                if work is None:
                    break
                batch = Batch(
                    self.store, [work], prices=self.prices, places=self.places, adopt=self._adopt, read=self._reread
                )
                self._commit(batch)
                if self._rows[str(source.path)].read_bytes <= before or not work.more:
                    break

    def _commit(self, batch: Batch) -> None:
        for row in batch.commit():
            self._rows[row.path] = row
        if self.keep_batches:
            self.batches.append(batch)
        self._opened |= batch.works.keys()
        for work in batch.works.values():
            summary = self._summaries.get(work.agent)
            if summary is not None:
                summary.bytes_read += work.end - work.start
                summary.new_events += batch.written.get(work.path, 0)

    def _read(self, source: Source, *, full: bool) -> Work | None:
        row = self._rows.get(str(source.path))
        try:
            work = read_source(source, row, whole=full or (row is not None and row.parser != PARSER_VERSION))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._summaries[source.agent].unreadable += 1
            self._warnings.append(f"{source.path} cannot be read: {error.strerror or error}.")
            return None
        self._keep_to_workspace(work)
        return work

    def _keep_to_workspace(self, work: Work) -> None:
        stored = work.row is not None and work.row.stored_as is not None
        if self._workspace is None or not work.events or stored:
            return
        cwd = next((event.place.cwd for event in work.events if event.place.cwd), None)
        if cwd is None or not self._is_inside(cwd):
            work.leave_out(self._workspace)

    def _is_inside(self, cwd: str) -> bool:
        workspace = self._workspace or ""
        places = (cwd, self.places.workspace_of(cwd))
        return any(place == workspace or place.startswith(workspace + os.sep) for place in places)

    def _reread(self, path: str) -> Work | None:
        """Read a whole file again, because its share of some records changed; None where it is gone."""
        row = self._rows.get(path)
        file = Path(path.partition("#")[0])
        if row is None or "#" in path or not file.is_file():
            return None
        facts = file.stat()
        source = Source(file, Agent(row.agent), facts.st_size, facts.st_mtime_ns)
        try:
            return read_source(source, row, whole=True, limit=max(facts.st_size, SLICE_BYTES))
        except OSError:
            return None

    def _store_database(self, source: Source) -> None:
        summary = self._summaries[source.agent]
        try:
            works, rejects = read_database(source, self._rows)
        except (IngestError, OSError) as error:
            summary.unreadable += 1
            self._warnings.append(str(error))
            return
        for work in works:
            self._keep_to_workspace(work)
        marker = Work.of_database(source, self._rows.get(str(source.path)), rejects)
        batch = Batch(
            self.store, [*works, marker], prices=self.prices, places=self.places, adopt=self._adopt, read=self._reread
        )
        self._commit(batch)


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


def _batches(sources: Sequence[Source]) -> Iterator[list[Source]]:
    batch: list[Source] = []
    size = 0
    for source in sources:
        if batch and (size + source.size_bytes > BATCH_BYTES or len(batch) == BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(source)
        size += source.size_bytes
    if batch:
        yield batch
