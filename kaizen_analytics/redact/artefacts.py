"""The scan of a finished file: if anything in it would have to be redacted, nothing is written and the run fails."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.redact.spans import merge_findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kaizen_analytics.redact.scanner import Scanner

_SHOWN = 5
_REMEDY = "Redact the text that went into it, then write it again."


class Leak(NamedTuple):
    """Where in an artefact something was found, and what kind; never the value itself."""

    part: str
    start: int
    end: int
    kind: str


def find_leaks(name: str, raw: bytes, scanner: Scanner) -> tuple[Leak, ...]:
    """Return what must not leave in the bytes of an artefact called `name`.

    Text files of any kind (HTML, Markdown, JSON, CSV, notebooks) are scanned as they are, `.gz` unpacked, the text
    columns of `.parquet` cell by cell.

    >>> from kaizen_analytics.redact import Scanner
    >>> [leak.kind for leak in find_leaks("a.md", b"see /home/maria/app", Scanner())]
    ['home-folder']
    """
    leaks = []
    for part, text in _parts(name, raw):
        leaks += [Leak(part, item.start, item.end, item.kind) for item in merge_findings(text, scanner.find(text))]
    return tuple(leaks)


def refuse_leaks(artefacts: Mapping[str, bytes], scanner: Scanner) -> None:
    """Fail if one of the finished files, given by name and not yet written, holds anything that must not leave.

    Raises:
        RedactionError: something was found; the message names kinds and places, not values.

    >>> from kaizen_analytics.redact import Scanner
    >>> refuse_leaks({"a.md": b"nothing to see"}, Scanner())
    """
    for name, raw in artefacts.items():
        leaks = find_leaks(name, raw, scanner)
        if leaks:
            raise RedactionError(f"{name} held {_describe(leaks)}, so nothing was written. {_REMEDY}")


def _describe(leaks: Sequence[Leak]) -> str:
    shown = "; ".join(f"{leak.kind} at {leak.part} {leak.start}-{leak.end}" for leak in leaks[:_SHOWN])
    more = f"; {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    return f"{len(leaks)} value(s) that must not leave ({shown}{more})"


def _parts(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    suffix = name.lower().rpartition(".")[2]
    if suffix == "parquet":
        yield from _parquet_columns(raw)
    elif suffix == "gz":
        yield "byte", gzip.decompress(raw)
    else:
        yield "byte", raw


def _parquet_columns(raw: bytes) -> Iterator[tuple[str, bytes]]:
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(raw))
    yield "column name", "\n".join(frame.columns).encode()
    for name in frame.columns:
        if frame.schema[name].is_nested() or frame.schema[name] in (pl.String, pl.Categorical, pl.Binary):
            cells = (str(cell) for cell in frame[name].unique().drop_nulls().to_list())
            yield f"column {name}", "\n".join(cells).encode("utf-8", "surrogatepass")
