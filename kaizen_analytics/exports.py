"""Frames as files: Parquet, CSV or JSON, written whole or not at all."""

from __future__ import annotations

import glob
import io
import shutil
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ABANDONED_S = 600
_FORMULA = r"^[=+\-@\t\r]"


class Format(StrEnum):
    """What a file may be; the values are the endings of file names."""

    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


TABLES = (Format.PARQUET, Format.CSV, Format.JSON)
"""The formats that a frame alone can be written in."""


def parse_format(path: Path, allowed: Iterable[Format] = tuple(Format)) -> Format:
    """Return the format that a file's ending names.

    Raises:
        ConfigError: the ending names none of the allowed formats.
    """
    expected = {f".{one.value}": one for one in allowed}
    found = expected.get(path.suffix.lower())
    if found is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(expected)}.")
    return found


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format that the file's ending names.

    The file is written beside its place and then moved, so a reader never sees half of it. In CSV a text that a
    spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        ConfigError: the ending is none of .parquet, .csv and .json, or the folder cannot be written.
    """
    publish(encode_table(frame, parse_format(path, TABLES)), path)


def encode_table(frame: pl.DataFrame, form: Format) -> bytes:
    """Return a frame as the bytes of a Parquet, CSV or JSON file."""
    buffer = io.BytesIO()
    _WRITERS[form](frame, buffer)
    return buffer.getvalue()


def publish(data: bytes, path: Path) -> None:
    """Put a whole file in its place, in one step; a link there is replaced, not followed.

    What a killed process left beside the file goes once it is ten minutes old.

    Raises:
        ConfigError: the folder cannot be written.
    """
    prefix = f".{path.name}.kaizen-draft-"
    try:
        for stray in path.parent.glob(f"{glob.escape(prefix)}*"):
            if time.time() - stray.lstat().st_mtime > _ABANDONED_S:
                shutil.rmtree(stray, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
            draft = Path(folder) / path.name
            draft.touch(0o600)
            draft.write_bytes(data)
            draft.replace(path)
    except OSError as error:
        raise ConfigError(f"Cannot write into {path.parent}: {error.strerror}.") from error


def guard_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with an apostrophe before every text that a spreadsheet would run as a formula."""
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
        for text in texts
    )


_WRITERS: dict[Format, Callable[[pl.DataFrame, io.BytesIO], object]] = {
    Format.PARQUET: lambda frame, buffer: frame.write_parquet(buffer),
    Format.CSV: lambda frame, buffer: guard_formulas(frame).write_csv(buffer),
    Format.JSON: lambda frame, buffer: frame.write_json(buffer),
}
