"""Exports as files: Parquet, CSV, JSON or Markdown, in a folder, in an object store or on standard output.

Every file is scanned for secrets and identities before it is written, and appears whole or not at all.
"""

from __future__ import annotations

import io
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import polars as pl

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.files import write_file
from kaizen_analytics.exports.places import SCHEMES, open_place
from kaizen_analytics.redact import refuse_leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kaizen_analytics.exports.tables import Export
    from kaizen_analytics.redact import Scanner

_FORMULA = r"^[=+\-@\t\r]"


class Format(StrEnum):
    """What a file may be; the values are the endings of file names."""

    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


def encode(made: Export, form: Format) -> bytes:
    """Return an export as the content of a file.

    >>> from kaizen_analytics.exports.columns import TABLES
    >>> from kaizen_analytics.exports.tables import Export
    >>> table = TABLES["sessions"]()
    >>> encode(Export(table=table, frame=pl.DataFrame(schema=table.schema), markdown="# none"), Format.MARKDOWN)
    b'# none'
    """
    if form is Format.MARKDOWN:
        return made.markdown.encode()
    if form is Format.JSON:
        document = {"schema": made.table.label, "rows": made.frame.to_dicts()}
        return (json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
    return _encode_table(made.frame, form)


def deliver(made: Export, to: str, form: Format | None, scanner: Scanner) -> tuple[str | None, bytes]:
    """Write an export to the place that `to` names, and return that place and the bytes; None for standard output.

    A folder (an existing one, or a name that ends in `/`) gets a file named after the table.

    Args:
        made: The export.
        to: A file, a folder, an address in an object store, or `-`.
        form: The format; by default the ending of the file.
        scanner: Scans the finished file.

    Raises:
        ConfigError: the format is missing or does not fit, or the place cannot be written.
        LakeError: the object store refused.
        RedactionError: the finished file held something that must not leave; nothing was written.

    >>> from kaizen_analytics.exports.tables import export_table
    >>> from kaizen_analytics.redact import KnownIdentities, open_redactor
    >>> redactor = open_redactor(KnownIdentities(()), bytes(32))
    >>> made = export_table(store, "metrics", redactor, now_ms=1_789_344_000_000, with_text=False)
    >>> place, written = deliver(made, str(tmp / "metrics.csv"), None, redactor.scanner)
    >>> len(written.splitlines()) == made.frame.height + 1
    True
    """
    parts = urlsplit(to)
    if "://" in to and parts.scheme.lower() != "file":
        return _upload(made, to, form, scanner)
    path = Path(unquote(parts.path) if "://" in to else to).expanduser()
    is_folder = to == "-" or to.endswith("/") or path.is_dir()
    chosen = form or (_require_form(to) if is_folder else _parse_format(path, Format))
    data = _encode_checked(made, chosen, scanner)
    if to == "-":
        return None, data
    if is_folder:
        path /= f"{made.table.name}.{chosen.value}"
    _publish(data, path)
    return str(path), data


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format that the file's ending names (.parquet, .csv, .json).

    The file is written beside its place and then moved, so a reader never sees half of it. In CSV, text that a
    spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        ConfigError: the ending is none of these, or the folder cannot be written.

    >>> write_table(pl.DataFrame({"name": ["=1+1"]}), tmp / "table.csv")
    >>> (tmp / "table.csv").read_text().split()
    ['name', "'=1+1"]
    """
    _publish(_encode_table(frame, _parse_format(path, _TABLES)), path)


def _guard_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with an apostrophe before every text that a spreadsheet would run as a formula.

    >>> _guard_formulas(pl.DataFrame({"name": ["@x", "x"]}))["name"].to_list()
    ["'@x", 'x']
    """
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
        for text in texts
    )


_WRITERS: dict[Format, Callable[[pl.DataFrame, io.BytesIO], object]] = {
    Format.PARQUET: lambda frame, buffer: frame.write_parquet(buffer),
    Format.CSV: lambda frame, buffer: _guard_formulas(frame).write_csv(buffer),
    Format.JSON: lambda frame, buffer: frame.write_json(buffer),
}
_TABLES = (Format.PARQUET, Format.CSV, Format.JSON)


def _parse_format(path: Path, allowed: Iterable[Format]) -> Format:
    expected = {f".{one.value}": one for one in allowed}
    found = expected.get(path.suffix.lower())
    if found is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(expected)}.")
    return found


def _require_form(place: str) -> Format:
    raise ConfigError(f"--to {place} does not name a format; add --format md, json, csv or parquet.")


def _encode_table(frame: pl.DataFrame, form: Format) -> bytes:
    buffer = io.BytesIO()
    _WRITERS[form](frame, buffer)
    return buffer.getvalue()


def _encode_checked(made: Export, form: Format, scanner: Scanner) -> bytes:
    data = encode(made, form)
    refuse_leaks({f"{made.table.name}.{form.value}": data}, scanner)
    return data


def _upload(made: Export, url: str, form: Format | None, scanner: Scanner) -> tuple[str, bytes]:
    parts = urlsplit(url)
    if parts.scheme.lower() not in SCHEMES:
        raise ConfigError(f"--to names a {parts.scheme} URL; expected one of {', '.join(SCHEMES)}, or a file.")
    if parts.password:
        raise ConfigError("--to holds credentials; leave them to the environment variables of the object store.")
    folder, _, name = url.rpartition("/")
    chosen = form or (_parse_format(Path(name), Format) if name else _require_form(url))
    name = name or f"{made.table.name}.{chosen.value}"
    data = _encode_checked(made, chosen, scanner)
    open_place(folder).write(name, data)
    return f"{folder}/{name}", data


def _publish(data: bytes, path: Path) -> None:
    try:
        write_file(path, data)
    except OSError as error:
        raise ConfigError(f"Cannot write into {path.parent}: {error.strerror}.") from error
