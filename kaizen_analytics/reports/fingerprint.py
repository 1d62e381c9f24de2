"""What a report was made from: one hash over the notebook, the parameters, the input files and the code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.reports.publication import write_file
from kaizen_analytics.resources import cache_folder, find_folder, name_in_cache
from kaizen_analytics.stamps import read_fingerprint, settle_fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kaizen_analytics.reports.parameters import Value
    from kaizen_analytics.stamps import Fingerprint

_LIBRARIES = (
    "kaizen_analytics",
    "duckdb",
    "nbconvert",
    "numpy",
    "papermill",
    "polars",
    "scipy",
)
_CODE = (".py", ".j2", ".css", ".sql")


def read_versions(formats: Collection[str] = ()) -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape a report in `formats`."""
    names = (*_LIBRARIES, *(("weasyprint",) if "pdf" in formats else ()))
    return {"python": platform.python_version(), **{name: _read_version(name) for name in names}}


def compute_fingerprint(
    source: bytes,
    parameters: Mapping[str, Value],
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
    """
    parts = {
        "notebook": hashlib.sha256(source).hexdigest(),
        "parameters": dict(parameters),
        "inputs": [digest for path in inputs for digest in hash_input(path, hash_root(os.environ, Path.home()))],
        "formats": sorted(formats),
        "versions": dict(versions),
        "code": hash_code(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()


@cache
def hash_code() -> str:
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


def hash_root(environment: Mapping[str, str], home: Path) -> Path:
    """Return the folder of the hashes that are kept, beside the mirrors of the stores."""
    return cache_folder(environment, home) / "hashes"


def hash_input(path: Path, kept: Path) -> list[str]:
    """Return the hashes of a file and of the write-ahead log beside it.

    A large store takes seconds to read, so its hashes are kept with what `stat` said of it, and read again while that
    is the same.

    Args:
        path: The file; it exists.
        kept: The folder of the hashes that are kept; any of them may be deleted at any time.
    """
    note = kept / f"{name_in_cache(path)}.json"
    settled = settle_fingerprint(path)
    if settled is not None and (known := _recall(note, settled)) is not None:
        return known
    hashes = [_hash_file(path), _hash_file(path.with_name(f"{path.name}-wal"))]
    if settled is not None and read_fingerprint(path) == settled:
        with suppress(OSError):  # what cannot be kept is computed again
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(note, json.dumps({"stat": settled, "hashes": hashes}).encode())
    return hashes


def _recall(note: Path, settled: Fingerprint) -> list[str] | None:
    try:
        known = json.loads(note.read_bytes())
        return [str(digest) for digest in known["hashes"]] if known["stat"] == list(settled) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hash_file(path: Path) -> str:
    """Return the hash of a file; a missing write-ahead log counts as an empty one, which readers leave behind."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return hashlib.sha256(b"").hexdigest()
