"""The record that every run leaves, `run.json` in its folder, and the hash of what the run was made from."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ReportError
from kaizen_analytics.core.files import write_file
from kaizen_analytics.core.settings import find_folder
from kaizen_analytics.reports.publication import RUN_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SCHEMA_VERSION = 1


class RunState(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    """A cell raised an error, or the notebook stopped before its last cell."""
    IO_ERROR = "io_error"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    KERNEL_DIED = "kernel_died"
    WITHHELD = "withheld"
    """A report to be shared held something that must not leave."""
    ABANDONED = "abandoned"
    """The process that ran it disappeared without a word."""


EXIT_CODES: Mapping[RunState, int] = {
    RunState.SUCCESS: 0,
    RunState.FAILED: 1,
    RunState.WITHHELD: 1,
    RunState.IO_ERROR: 74,
    RunState.TIMED_OUT: 124,
    RunState.INTERRUPTED: 130,
    RunState.KERNEL_DIED: 138,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFile:
    """One published file, by its name inside the run's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """Everything to be known about one run; times are milliseconds since the Unix epoch.

    `logical_at_ms` is the time that the report speaks for (a schedule's slot), `trigger` what asked for it
    (`manual` or the name of a schedule), `data_as_of_ms` the youngest data it saw.
    """

    run_id: str
    report: str
    subject: str | None
    logical_at_ms: int
    trigger: str
    attempt: int
    parameters: Mapping[str, Any]
    formats: tuple[str, ...]
    fingerprint: str
    versions: Mapping[str, str]
    git_commit: str | None
    host: str
    pid: int
    started_at_ms: int
    state: RunState = RunState.RUNNING
    finished_at_ms: int | None = None
    duration_ms: int | None = None
    data_as_of_ms: int | None = None
    exit_code: int | None = None
    error: str | None = None
    outputs: tuple[OutputFile, ...] = ()
    schema: int = field(default=_SCHEMA_VERSION)

    def to_json(self) -> bytes:
        """Return the record as indented JSON with a stable order of keys."""
        return (json.dumps(asdict(self), ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, text: bytes | str, origin: Path) -> RunRecord:
        """Read what `to_json` wrote; fields of a newer version are left out.

        Raises:
            ReportError: the text is not a run record.
        """
        try:
            record = json.loads(text)
            known = {item.name: record[item.name] for item in fields(cls) if item.name in record}
            known["state"] = RunState(known["state"])
            known["formats"] = tuple(known["formats"])
            known["outputs"] = tuple(OutputFile(**output) for output in known["outputs"])
            return cls(**known)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ReportError(f"{origin} is not a record of a run: {error!r}. Remove its folder if it is.") from error


def write_record(folder: Path, record: RunRecord) -> None:
    """Write `run.json` into the folder of a run.

    >>> record = RunRecord(
    ...     run_id="r1", report="portfolio", subject=None, logical_at_ms=0, trigger="manual", attempt=1, parameters={},
    ...     formats=("md",), fingerprint="f", versions={}, git_commit=None, host="h", pid=1, started_at_ms=0,
    ... )
    >>> write_record(tmp, record)
    >>> read_record(tmp) == record
    True
    """
    write_file(folder / RUN_FILE, record.to_json())


def read_record(folder: Path) -> RunRecord | None:
    """Return the record in the folder of a run, None if there is none.

    >>> read_record(tmp)  # no run lies here
    """
    path = folder / RUN_FILE
    try:
        return RunRecord.from_json(path.read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_records(out: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the folder and the record of every run below `out`, running and failed ones included.

    A run that is published while this walks may be missed, as it may by a walk a moment earlier.

    >>> list(find_records(tmp))
    []
    """
    # os.walk does not follow `latest`, so no run comes twice, and passes over folders that are moved meanwhile
    folders = [Path(folder) for folder, _, files in os.walk(out) if RUN_FILE in files]
    for folder in sorted(folders):
        record = read_record(folder)
        if record is not None:
            yield folder, record


_LIBRARIES = ("kaizen_analytics", "duckdb", "nbconvert", "numpy", "papermill", "polars", "scipy")
_CODE = (".py", ".j2", ".css", ".sql", ".toml")


def read_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a report.

    >>> "papermill" in read_versions()
    True
    """
    return {"python": platform.python_version(), **{name: _read_version(name) for name in _LIBRARIES}}


def compute_fingerprint(
    source: bytes,
    parameters: Mapping[str, object],
    inputs: Iterable[Path],
    formats: Iterable[str],
    versions: Mapping[str, str],
) -> str:
    """Return a SHA-256 in hex that changes whenever the report could come out differently.

    Args:
        source: The notebook.
        parameters: All parameters with their values; those that name `inputs` count by content, too.
        inputs: Files that the report reads; SQLite's write-ahead log beside one counts as well.
        formats: The formats to publish.
        versions: Versions of the libraries.

    >>> len(compute_fingerprint(b"notebook", {}, [], ["html"], {}))
    64
    """
    parts = {
        "notebook": hashlib.sha256(source).hexdigest(),
        "parameters": dict(parameters),
        "inputs": [_hash_file(part) for path in inputs for part in (path, path.with_name(f"{path.name}-wal"))],
        "formats": sorted(formats),
        "versions": dict(versions),
        "code": _hash_code(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


@cache
def _hash_code() -> str:
    """Return one hash over this package and its queries: a checkout changes without changing its version."""
    package = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for folder in (package, find_folder("sql")):
        for path in sorted(path for path in folder.rglob("*") if path.suffix in _CODE):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _read_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that is on the path without being installed
        return "not installed"


def _hash_file(path: Path) -> str:
    """Return the hash of a file; a missing write-ahead log counts as an empty one, which readers leave behind."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return hashlib.sha256(b"").hexdigest()
