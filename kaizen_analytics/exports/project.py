"""The one projection that every export passes: only declared columns leave, each cell as its kind demands.

Redaction finds what looks like a secret; the projection does not have to. A value of another kind is an error and is
never passed through. Each distinct text is converted once, so a million rows cost little more than their distinct
values.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.exports.columns import Column, ColumnKind, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kaizen_analytics.redact import Pseudonyms

ID_DIGITS = 20
"""Two of ten million ids are equal with a chance of one in ten billion."""

LATEST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""


def project(
    table: Table, frame: pl.DataFrame, pseudonyms: Pseudonyms, *, redact: Callable[[str], str] | None = None
) -> pl.DataFrame:
    """Return a frame with exactly the declared columns, one row for each row of `frame`.

    Args:
        table: The declaration.
        frame: At least the declared columns, as the store has them.
        pseudonyms: What replaces names.
        redact: Replaces secrets and identities in free text; without it, free text is null.

    Raises:
        RedactionError: the frame lacks a declared column, or a cell is not of its kind. Nothing may leave then.

    >>> from kaizen_analytics.redact import Pseudonyms
    >>> number = Column("n", ColumnKind.COUNT, "a number")
    >>> table = Table(name="t", version=1, grain="a row", key=("n",), columns=(number,))
    >>> project(table, pl.DataFrame({"n": [1], "prompt": ["secret plan"]}), Pseudonyms(bytes(32))).to_dicts()
    [{'n': 1}]
    """
    kept = [column for column in table.columns if column.kind is not ColumnKind.TEXT or redact is not None]
    missing = [column.name for column in kept if column.name not in frame.columns]
    if missing:
        raise RedactionError(f"{table.name}: the frame lacks {', '.join(missing)}; expected every column.")
    projected = {column.name: _project(table, column, frame[column.name], pseudonyms, redact) for column in kept}
    empty = pl.Series([None] * frame.height)
    columns = [projected.get(name, empty.cast(dtype)).alias(name) for name, dtype in table.schema.items()]
    return pl.DataFrame(columns, schema=table.schema)


def make_frame(table: Table, rows: Sequence[Mapping[str, object]]) -> pl.DataFrame:
    """Return raw rows as the frame that `project` takes; without rows, every column is there and empty.

    >>> from kaizen_analytics.exports.columns import LAKE_TABLES, LakeTable
    >>> make_frame(LAKE_TABLES[LakeTable.TAGS], []).columns
    ['source', 'experiment_id', 'session_id', 'variant']
    """
    if not rows:
        return pl.DataFrame({column.name: pl.Series(dtype=pl.Null()) for column in table.columns})
    return pl.DataFrame(rows, infer_schema_length=None)


def make_pseudonym(column: Column, text: str, pseudonyms: Pseudonyms) -> str:
    """Return what replaces one text in a column of kind WORD, FOLDER, PSEUDONYM or ID.

    >>> from kaizen_analytics.redact import Pseudonyms
    >>> make_pseudonym(Column("id", ColumnKind.ID, "the session"), "abc", Pseudonyms(bytes(32)))
    '37d51a39f55f29706733'
    """
    raw = text.encode("utf-8", "surrogatepass")
    match column.kind:
        case ColumnKind.WORD:
            return text if text in column.words else pseudonyms.exact(raw, digits=ID_DIGITS)
        case ColumnKind.FOLDER:
            parts = raw.split(b"/")
            paths = (b"/".join(parts[: end + 1]) for end in range(len(parts)))
            return "/".join(pseudonyms.exact(path) if part else "" for part, path in zip(parts, paths, strict=True))
        case ColumnKind.ID:
            return pseudonyms.name(column.category, raw, digits=ID_DIGITS)
        case _:
            return pseudonyms.name(column.category, raw)


def _project(
    table: Table, column: Column, cells: pl.Series, pseudonyms: Pseudonyms, redact: Callable[[str], str] | None
) -> pl.Series:
    if cells.dtype == pl.Null:
        return cells.cast(column.dtype)
    if column.kind is ColumnKind.TEXT:
        converted = _map_texts(cells, redact)
    elif column.kind is ColumnKind.CHOICE:
        converted = _map_texts(cells, lambda text: text if text in column.words else "other")
    elif column.kind in _CONVERTERS:
        converted = _CONVERTERS[column.kind](cells)
    else:
        converted = _map_texts(cells, lambda text: make_pseudonym(column, text, pseudonyms))
    if converted is None:
        raise RedactionError(
            f"{table.name}.{column.name} holds a cell of type {cells.dtype} that is no {column.kind.value}. "
            "Nothing has left."
        )
    return converted


def _whole(cells: pl.Series, most: int) -> pl.Series | None:
    if not cells.dtype.is_integer():
        return None
    numbers = cells.cast(pl.Int64(), strict=False)
    fits = numbers.null_count() == cells.null_count() and numbers.is_between(0, most).all()
    return numbers if fits else None


def _measure(cells: pl.Series) -> pl.Series | None:
    if not cells.dtype.is_numeric():
        return None
    numbers = cells.cast(pl.Float64())
    return numbers if numbers.is_finite().all() else None


def _bucket(cells: pl.Series, pattern: str) -> pl.Series | None:
    moments = _whole(cells, LATEST_MS)
    return None if moments is None else moments.cast(pl.Datetime("ms")).dt.strftime(pattern)


def _map_texts(cells: pl.Series, convert: Callable[[str], str] | None) -> pl.Series | None:
    if cells.dtype != pl.String or convert is None:
        return None
    values = cells.drop_nulls().unique()
    return cells.replace_strict(values, [convert(text) for text in values], default=None, return_dtype=pl.String())


_CONVERTERS: dict[ColumnKind, Callable[[pl.Series], pl.Series | None]] = {
    ColumnKind.COUNT: partial(_whole, most=2**63 - 1),
    ColumnKind.MEASURE: _measure,
    ColumnKind.FLAG: lambda cells: cells if cells.dtype == pl.Boolean else None,
    ColumnKind.MOMENT: partial(_whole, most=LATEST_MS),
    ColumnKind.HOUR: partial(_bucket, pattern="%Y-%m-%dT%H"),
    ColumnKind.DAY: partial(_bucket, pattern="%Y-%m-%d"),
}
