"""The last look at a finished file: if anything in it would have to be redacted, the file goes and the run fails."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact.spans import merge_findings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kaizen_analytics.redact.scanner import Scanner

_SHOWN = 5
_PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)


class Leak(NamedTuple):
    """Where in an artefact something was found, and what kind; never the value itself."""

    part: str
    start: int
    end: int
    kind: str


def find_leaks(path: Path, scanner: Scanner) -> tuple[Leak, ...]:
    """Return what must not leave in the file at `path`.

    Text files of any kind (HTML, Markdown, JSON, CSV, notebooks) are scanned as they are, `.gz` unpacked, the text
    columns of `.parquet` cell by cell, and the streams of `.pdf` inflated (text that a PDF spells with the glyph
    numbers of an embedded font cannot be read back; scan the page that it was printed from).
    """
    leaks = []
    for part, raw in _parts(path):
        leaks += [Leak(part, item.start, item.end, item.kind) for item in merge_findings(raw, scanner.find(raw))]
    return tuple(leaks)


def rescan(path: Path, scanner: Scanner) -> None:
    """Delete the file at `path` and fail if it holds anything that must not leave.

    Raises:
        RedactionError: something was found. The file is gone; the message names kinds and places, not values.
    """
    leaks = find_leaks(path, scanner)
    if not leaks:
        return
    path.unlink()
    shown = "; ".join(f"{leak.kind} at {leak.part} {leak.start}-{leak.end}" for leak in leaks[:_SHOWN])
    more = f"; {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    raise RedactionError(
        f"{path.name} held {len(leaks)} value(s) that must not leave ({shown}{more}) and was deleted. "
        "Redact the text that went into it, then write it again.",
    )


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    raw = path.read_bytes()
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_columns(path)
    elif suffix == ".gz":
        yield "byte", gzip.decompress(raw)
    elif suffix == ".pdf":
        yield from _pdf_streams(raw)
    else:
        yield "byte", raw


def _parquet_columns(path: Path) -> Iterator[tuple[str, bytes]]:
    import polars as pl

    frame = pl.read_parquet(path)
    yield "column name", "\n".join(frame.columns).encode()
    for name in frame.columns:
        if frame.schema[name].is_nested() or frame.schema[name] in (pl.String, pl.Categorical, pl.Binary):
            cells = (str(cell) for cell in frame[name].unique().drop_nulls().to_list())
            yield f"column {name}", "\n".join(cells).encode("utf-8", "surrogatepass")


def _pdf_streams(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what stands between the streams (titles, authors), then each stream that inflates."""
    yield "document", _PDF_STREAM.sub(b"", raw)
    for number, match in enumerate(_PDF_STREAM.finditer(raw), 1):
        try:
            inflated = zlib.decompress(match[1])
        except zlib.error:
            continue  # an image or an encrypted stream: no text that could be read
        yield f"stream {number}", inflated
