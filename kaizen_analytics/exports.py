"""Frames as files: Parquet, CSV or JSON, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_FORMULA = r"^[=+\-@\t\r]"


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a frame in the format that the file's ending names.

    The file is written beside its place and then moved, so a reader never sees half of it. In CSV a text that a
    spreadsheet would run as a formula gets a leading apostrophe.

    Raises:
        ConfigError: the ending is none of .parquet, .csv and .json, or the folder cannot be written.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise ConfigError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(_WRITERS)}.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ConfigError(f"Cannot write into {path.parent}: {error.strerror}.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        write(frame, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def guard_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with an apostrophe before every text that a spreadsheet would run as a formula."""
    texts = [pl.col(name) for name, dtype in frame.schema.items() if dtype == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(_FORMULA)).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).name.keep()
        for text in texts
    )


_WRITERS: dict[str, Callable[[pl.DataFrame, Path], object]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: guard_formulas(frame).write_csv(path),
    ".json": lambda frame, path: frame.write_json(path),
}
