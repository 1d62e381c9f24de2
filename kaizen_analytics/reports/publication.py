"""Runs of reports that appear whole or not at all, and the record that each leaves.

The folder of a run is filled apart, then renamed into place.

A folder of reports looks like this; everything that begins with a dot is work in progress:

    <out>/<report>/<subject>/<run-id>/report.html, report.md, report.json, run.json
    <out>/<report>/<subject>/latest -> <run-id>
    <out>/<report>/<subject>/_failed/<run-id>/run.json, report.ipynb
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping  # noqa: TC003 - the codec reads annotations
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import RecordError, ReportError
from kaizen_analytics.core.files import open_folder, write_file
from kaizen_analytics.core.settings import find_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LATEST = "latest"
FAILED = "_failed"
RUN_FILE = "run.json"
LOCK_FILE = ".lock"
_STAGING = ".staging-"
_READABLE = 48


class OutputError(ReportError):
    """The folder of reports cannot be written: full, read-only, or not a folder."""

    exit_code = 74


def slug(text: str) -> str:
    """Return a folder name for `text`: itself if it is a plain name, else its readable part and a hash.

    The result never leaves its parent folder, never begins with a dot or an underscore and never collides for
    two different texts (short of a collision of SHA-256).

    >>> slug("exp-1"), slug("../etc")[:4]
    ('exp-1', 'etc-')
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:_READABLE]
    if plain and plain == text and plain != _LATEST:
        return plain
    return f"{plain or 'subject'}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def make_staging(output: Path, run_id: str) -> Path:
    """Create and return the private folder in which a run gathers its files, beside where they will be published.

    >>> make_staging(tmp, "run-1").name
    '.staging-run-1'
    """
    name = f"{_STAGING}{run_id}"
    with open_folder(output) as folder:
        folder.make_folder(name)
    return output / name


def find_staging(output: Path) -> list[Path]:
    """Return the staging folders in `output`; while its lock is held, all of them are left over from dead runs.

    >>> make_staging(tmp, "run-1") in find_staging(tmp)
    True
    """
    return sorted(path for path in output.glob(f"{_STAGING}*") if path.is_dir() and not path.is_symlink())


def publish(staging: Path, run_id: str) -> Path:
    """Turn a staging folder into the run `run_id`, point `latest` to it and return its new path.

    >>> publish(make_staging(tmp, "run-1"), "run-1").name, resolve_latest(tmp).name
    ('run-1', 'run-1')
    """
    link = f".{_LATEST}-{run_id}"
    with open_folder(staging.parent) as folder:
        folder.move(staging.name, run_id)
        folder.sync()
        with contextlib.suppress(FileNotFoundError):
            folder.remove(link)
        folder.point(link, run_id)
        folder.move(link, _LATEST)
        folder.sync()
    return staging.parent / run_id


def set_aside(staging: Path, run_id: str) -> Path:
    """Move a staging folder to the failed runs and return its new path.

    >>> set_aside(make_staging(tmp, "run-1"), "run-1").parent.name
    '_failed'
    """
    failed = staging.parent / FAILED
    with open_folder(staging.parent) as folder:
        with contextlib.suppress(FileExistsError):
            folder.make_folder(FAILED)
        with open_folder(failed) as put_away:
            folder.move(staging.name, run_id, put_away)
            put_away.sync()
    return failed / run_id


def clear(folder: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Delete what lies in `folder`, except the names in `keep`.

    >>> _ = [(tmp / name).write_text("") for name in ("run.json", "page.html")]
    >>> clear(tmp, keep=frozenset({"run.json"}))
    >>> [path.name for path in tmp.iterdir()]
    ['run.json']
    """
    with open_folder(folder) as opened:
        for name in sorted({*opened.names()} - keep):
            opened.remove(name)


def resolve_latest(output: Path) -> Path | None:
    """Return the folder of the last successful run, or None.

    >>> resolve_latest(tmp)  # nothing is published yet
    """
    latest = output / _LATEST
    return latest.resolve() if latest.is_symlink() and latest.is_dir() else None


def describe_failure(error: OSError) -> str:
    """Return an error of the operating system in words, with the usual remedy.

    >>> describe_failure(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device; free some space and run again'
    """
    remedies = {
        errno.ENOSPC: "free some space",
        errno.EDQUOT: "free some of your quota",
        errno.EROFS: "choose a folder that can be written (--out)",
        errno.EACCES: "choose a folder that can be written (--out)",
        errno.ENOTDIR: "choose a folder (--out)",
    }
    remedy = remedies.get(error.errno or 0)
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}{f'; {remedy} and run again' if remedy else ''}"


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
    """Return the record in the folder of a run, None if there is none; fields of a newer version are left out.

    Raises:
        ReportError: the file is not a run record.

    >>> read_record(tmp)  # no run lies here
    """
    path = folder / RUN_FILE
    try:
        return codec.read(RunRecord, path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except RecordError as error:
        raise ReportError(f"{path} is not a record of a run: {error} Remove its folder if it is.") from error


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

    Parameters that name `inputs` count by the content of the files, too; SQLite's write-ahead log beside one counts.

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
