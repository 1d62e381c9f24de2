"""Which files of a lake count: one catalogue for each source, replaced in one step after its files are in place.

So a reader sees each source as it was after some export, never between two; files of programs that are not named, and
of exports that were killed, do not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import LakeError
from kaizen_analytics.lake.keys import check_of_key
from kaizen_analytics.lake.schema import VERSION

if TYPE_CHECKING:
    from kaizen_analytics.lake.places import Place

CATALOGUES = "catalogues"
MARKER = "lake"

MARKER_SCHEMA = pl.Schema({"version": pl.Int64(), "key_check": pl.String()})
ENTRY_SCHEMA = pl.Schema(
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
"""One row per file; `fingerprint` tells whether what went into the file changed, `digest` is SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a lake; `bucket` and `day` are None for a table that is not divided."""

    source: str
    table_name: str
    bucket: int | None
    day: str | None
    name: str
    digest: str
    rows: int
    bytes: int
    fingerprint: str


def check_lake(place: Place, key: bytes | None) -> bool:
    """Return whether a lake lies there, after making sure that it is of this version and under this key.

    Raises:
        LakeError: it is not.
    """
    marks = place.read("", MARKER, MARKER_SCHEMA)
    if marks.is_empty():
        return False
    version, key_check = marks.row(0)
    if version != VERSION:
        raise LakeError(
            f"The lake has version {version}; this version of kaizen_analytics knows {VERSION}. "
            "Use one version on all machines, or export into a new lake.",
        )
    if key is not None and key_check != check_of_key(key):
        raise LakeError(
            "The lake was begun under another lake key. Copy the key file from a machine that exports to it "
            "(--lake-key FILE); under this one every session and workspace would count twice.",
        )
    return True


def make_marker(key: bytes) -> pl.DataFrame:
    """Return what says of a lake which version and key it has."""
    return pl.DataFrame([(VERSION, check_of_key(key))], schema=MARKER_SCHEMA, orient="row")


def read_entries(place: Place, source: str = "*") -> list[Entry]:
    """Return the files that count, of one source or of all.

    Raises:
        LakeError: a catalogue cannot be read.
    """
    return [Entry(**row) for row in place.read(CATALOGUES, source, ENTRY_SCHEMA).iter_rows(named=True)]


def make_catalogue(entries: list[Entry]) -> pl.DataFrame:
    """Return the catalogue that names these files."""
    rows = [tuple(getattr(entry, name) for name in ENTRY_SCHEMA) for entry in entries]
    return pl.DataFrame(rows, schema=ENTRY_SCHEMA, orient="row").sort("name")
