"""What a report was made from: one hash over the notebook, the parameters, the input files and the code."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.core.settings import find_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kaizen_analytics.reports.parameters import Value

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
