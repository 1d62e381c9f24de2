"""The allow-listed projection of whole frames: the same cells as `Projection.project`, a column at a time.

Each distinct text gets its stand-in once, so a million rows cost little more than their distinct values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact.projection import LATEST_MS, Column, ColumnKind, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.redact.projection import Projection
    from kaizen_analytics.redact.pseudonyms import Pseudonyms

_TYPES: dict[ColumnKind, pl.DataType] = {
    ColumnKind.COUNT: pl.Int64(),
    ColumnKind.MEASURE: pl.Float64(),
    ColumnKind.FLAG: pl.Boolean(),
    ColumnKind.MOMENT: pl.Int64(),
}


def frame_schema(projection: Projection) -> pl.Schema:
    """Return the columns that `project_frame` gives and their types."""
    return pl.Schema({column.name: _TYPES.get(column.kind, pl.String()) for column in projection.columns})


def project_frame(projection: Projection, frame: pl.DataFrame, pseudonyms: Pseudonyms) -> pl.DataFrame:
    """Return a frame reduced to the declared columns, each cell as its kind demands.

    Raises:
        RedactionError: the frame lacks a declared column, a cell is not of its kind, or a column is free text.
    """
    missing = [column.name for column in projection.columns if column.name not in frame.columns]
    if missing:
        raise RedactionError(f"{projection.name}: the frame lacks {', '.join(missing)}; expected every column.")
    projected = [_project(projection, column, frame[column.name], pseudonyms) for column in projection.columns]
    return pl.DataFrame(projected, schema=frame_schema(projection))


def _project(projection: Projection, column: Column, cells: pl.Series, pseudonyms: Pseudonyms) -> pl.Series:
    if cells.dtype == pl.Null:
        return cells.cast(_TYPES.get(column.kind, pl.String()))
    converted = _CONVERTERS.get(column.kind, _refuse)(column, cells, pseudonyms)
    if converted is None:
        raise RedactionError(
            f"{projection.name}.{column.name} holds a cell of type {cells.dtype} that is no {column.kind.value}. "
            "Nothing has left.",
        )
    return converted


def _refuse(_column: Column, _cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return None


def _count(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return _whole(cells, 2**63 - 1)


def _moment(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return _whole(cells, LATEST_MS)


def _whole(cells: pl.Series, most: int) -> pl.Series | None:
    if not cells.dtype.is_integer():
        return None
    numbers = cells.cast(pl.Int64(), strict=False)
    fits = numbers.null_count() == cells.null_count() and numbers.is_between(0, most).all()
    return numbers if fits else None


def _measure(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    if not cells.dtype.is_numeric():
        return None
    numbers = cells.cast(pl.Float64())
    return numbers if numbers.is_finite().all() else None


def _flag(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return cells if cells.dtype == pl.Boolean else None


def _choice(column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return _map_texts(cells, lambda text: text if text in column.choices else "other")


def _stand_in(column: Column, cells: pl.Series, pseudonyms: Pseudonyms) -> pl.Series | None:
    return _map_texts(cells, lambda text: stand_in(column, text, pseudonyms))


def _hour(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return _bucket(cells, "%Y-%m-%dT%H")


def _day(_column: Column, cells: pl.Series, _pseudonyms: Pseudonyms) -> pl.Series | None:
    return _bucket(cells, "%Y-%m-%d")


def _bucket(cells: pl.Series, pattern: str) -> pl.Series | None:
    moments = _whole(cells, LATEST_MS)
    return None if moments is None else moments.cast(pl.Datetime("ms")).dt.strftime(pattern)


def _map_texts(cells: pl.Series, convert: Callable[[str], str]) -> pl.Series | None:
    if cells.dtype != pl.String:
        return None
    values = cells.drop_nulls().unique()
    return cells.replace_strict(values, [convert(text) for text in values], default=None, return_dtype=pl.String())


_CONVERTERS = {
    ColumnKind.COUNT: _count,
    ColumnKind.MEASURE: _measure,
    ColumnKind.FLAG: _flag,
    ColumnKind.MOMENT: _moment,
    ColumnKind.CHOICE: _choice,
    ColumnKind.WORD: _stand_in,
    ColumnKind.FOLDER: _stand_in,
    ColumnKind.HOUR: _hour,
    ColumnKind.DAY: _day,
    ColumnKind.PSEUDONYM: _stand_in,
    ColumnKind.ID: _stand_in,
}
