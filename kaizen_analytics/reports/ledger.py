"""The record that every run leaves: `run.json` in its folder, and all of them together as the frame `report_runs`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import ReportError
from kaizen_analytics.reports.publication import RUN_FILE, write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

SCHEMA_VERSION = 1


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
    schema: int = field(default=SCHEMA_VERSION)

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
    """Write `run.json` into the folder of a run."""
    write_file(folder / RUN_FILE, record.to_json())


def read_record(folder: Path) -> RunRecord | None:
    """Return the record in the folder of a run, None if there is none."""
    path = folder / RUN_FILE
    try:
        return RunRecord.from_json(path.read_bytes(), path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_records(out: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the folder and the record of every run below `out`, running and failed ones included.

    A run that is published while this walks may be missed, as it may by a walk a moment earlier.
    """
    # os.walk does not follow `latest`, so no run comes twice, and passes over folders that are moved meanwhile
    folders = [Path(folder) for folder, _, files in os.walk(out) if RUN_FILE in files]
    for folder in sorted(folders):
        record = read_record(folder)
        if record is not None:
            yield folder, record


def load_report_runs(out: Path) -> pl.DataFrame:
    """Return the table `report_runs`: one row per run below `out`, the youngest first.

    Columns are the fields of `RunRecord`; times are in UTC, `parameters` and `versions` are JSON text, `outputs` is
    a list of `{path, bytes, sha256}` and `folder` the path of the run.
    """
    import polars as pl

    schema: dict[str, Any] = {
        "run_id": pl.String,
        "report": pl.String,
        "subject": pl.String,
        "state": pl.String,
        "exit_code": pl.Int64,
        "trigger": pl.String,
        "attempt": pl.Int64,
        "logical_at": pl.Datetime("ms", "UTC"),
        "started_at": pl.Datetime("ms", "UTC"),
        "finished_at": pl.Datetime("ms", "UTC"),
        "duration_ms": pl.Int64,
        "data_as_of": pl.Datetime("ms", "UTC"),
        "fingerprint": pl.String,
        "parameters": pl.String,
        "versions": pl.String,
        "git_commit": pl.String,
        "formats": pl.List(pl.String),
        "host": pl.String,
        "pid": pl.Int64,
        "error": pl.String,
        "outputs": pl.List(pl.Struct({"path": pl.String, "bytes": pl.Int64, "sha256": pl.String})),
        "folder": pl.String,
    }
    rows = [_row(folder, record) for folder, record in find_records(out)]
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.sort("started_at", "run_id", descending=True)


def _row(folder: Path, record: RunRecord) -> dict[str, Any]:
    row = asdict(record)
    for name in ("logical_at", "started_at", "finished_at", "data_as_of"):
        row[name] = _time(row.pop(f"{name}_ms"))
    for name in ("parameters", "versions"):
        row[name] = json.dumps(row[name], ensure_ascii=False)
    return {**row, "folder": str(folder)}


def _time(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
