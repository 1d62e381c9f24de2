"""Which files of a lake count, and the keys behind its pseudonyms.

Each source has one catalogue, which is replaced in one step after its files are in place. A reader sees each source as
it was after some export, never between two. Files that no catalogue names do not count.
"""

from __future__ import annotations

import io
import platform
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, LakeError
from kaizen_analytics.exports.columns import LAKE_VERSION
from kaizen_analytics.redact import Pseudonyms, load_key

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.exports.places import Storage

CATALOGUES = "catalogues"
MARKER = "lake.parquet"

LAKE_KEY = "lake.key"
"""Name of the default key file below `$KAIZEN_HOME`."""

_MACHINE_KEY = "machine.key"
_CHECK_DIGITS = 20
_MARKER_SCHEMA = pl.Schema({"version": pl.Int64(), "key_check": pl.String()})
_ENTRY_SCHEMA = pl.Schema(
    {
        "source": pl.String(),
        "table_name": pl.String(),
        "bucket": pl.Int64(),
        "day": pl.String(),
        "name": pl.String(),
        "digest": pl.String(),
        "rows": pl.Int64(),
        "bytes": pl.Int64(),
        "fingerprint": pl.String(),
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a lake; `bucket` and `day` are None for a table that is not divided.

    `fingerprint` changes when what goes into the file changes; `digest` is the SHA-256 of its bytes.
    """

    source: str
    table_name: str
    bucket: int | None
    day: str | None
    name: str
    digest: str
    rows: int
    bytes: int
    fingerprint: str


def load_lake_key(path: Path) -> bytes:
    """Read the key of a lake.

    Raises:
        ConfigError: there is no such file; the message says how to make or copy one.
        RedactionError: it is no key, or others may read it.

    >>> make_lake_key(tmp / "lake.key") == load_lake_key(tmp / "lake.key")
    True
    """
    if not path.exists():
        raise ConfigError(
            f"There is no lake key at {path}. All machines of a lake share one, so that a workspace has the same "
            f"pseudonym on each of them. On the first machine: kaizen-analytics export lake --make-key --lake-key "
            f"{path}. On the others: copy that file from the first (scp -p), then chmod 600 {path}.",
        )
    return load_key(path)


def make_lake_key(path: Path) -> bytes:
    """Make a new key, mode 0600.

    Raises:
        ConfigError: a file is there already; with another key every session would look new.
        RedactionError: the file cannot be written.

    >>> len(make_lake_key(tmp / "lake.key"))
    32
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; a lake keeps its key. Name another file, or use this one.")
    return load_key(path)


def identify_store(home: Path, store_path: Path) -> str:
    """Return a text that only this store on this machine has; a lake shows its pseudonym.

    Args:
        home: The folder that holds the secret of this machine, made on first use.
        store_path: The store.

    >>> from pathlib import Path
    >>> identify_store(tmp, Path("a.db")) == identify_store(tmp, Path("b.db"))
    False
    """
    secret = load_key(home / _MACHINE_KEY).hex()
    return f"{secret} {platform.node()} {store_path.resolve()}"


def check_lake(place: Storage, key: bytes | None) -> bool:
    """Return whether there is a lake, after making sure that it is of this version and under this key.

    Raises:
        LakeError: it is not.

    >>> from kaizen_analytics.exports.places import open_place
    >>> check_lake(open_place(str(tmp / "nowhere")), None)
    False
    """
    try:
        marks = _read(place, MARKER, _MARKER_SCHEMA)
    except FileNotFoundError:
        return False
    version, key_check = marks.row(0)
    if version != LAKE_VERSION:
        raise LakeError(
            f"The lake has version {version}; this version of kaizen_analytics knows {LAKE_VERSION}. "
            "Use one version on all machines, or export into a new lake.",
        )
    if key is not None and key_check != _check_of_key(key):
        raise LakeError(
            "The lake was begun under another lake key. Copy the key file from a machine that exports to it "
            "(--lake-key FILE); under this one every session and workspace would count twice.",
        )
    return True


def make_marker(key: bytes) -> pl.DataFrame:
    """Return what says of a lake which version and key it has.

    >>> make_marker(bytes(32)).columns
    ['version', 'key_check']
    """
    return pl.DataFrame([(LAKE_VERSION, _check_of_key(key))], schema=_MARKER_SCHEMA, orient="row")


def read_entries(place: Storage, source: str | None = None) -> list[Entry]:
    """Return the files that count, of one source or of all.

    Raises:
        LakeError: a catalogue cannot be read.

    >>> from kaizen_analytics.exports.places import open_place
    >>> read_entries(open_place(str(tmp / "nowhere")))
    []
    """
    names = sorted(place.sizes(CATALOGUES)) if source is None else [f"{CATALOGUES}/{source}.parquet"]
    try:
        return [Entry(**row) for name in names for row in _read(place, name, _ENTRY_SCHEMA).iter_rows(named=True)]
    except FileNotFoundError:
        return []  # the first export of this source


def make_catalogue(entries: list[Entry]) -> pl.DataFrame:
    """Return the catalogue that names these files.

    >>> make_catalogue([]).height
    0
    """
    return pl.DataFrame([astuple(entry) for entry in entries], schema=_ENTRY_SCHEMA, orient="row").sort("name")


def _check_of_key(key: bytes) -> str:
    """Return what a lake shows of its key, to tell a wrong one from the right one."""
    return Pseudonyms(key).exact(b"lake key", digits=_CHECK_DIGITS)


def _read(place: Storage, name: str, schema: pl.Schema) -> pl.DataFrame:
    address = place.address(name)
    try:
        frame = pl.read_parquet(io.BytesIO(place.read(name)))
    except pl.exceptions.PolarsError as error:
        raise LakeError(f"{address} is no readable Parquet file: {error}. Remove it, and export again.") from error
    if frame.schema != schema:
        raise LakeError(
            f"{address} has the columns {', '.join(frame.columns)}; expected {', '.join(schema)}. It belongs to "
            "another version or program; upgrade kaizen_analytics everywhere, or move it away.",
        )
    return frame
