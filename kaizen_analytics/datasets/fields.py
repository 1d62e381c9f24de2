"""One description of a table that may leave: its columns, their units, what null means, and its version.

The same `Dataset` makes the projection that rows pass through, the schema of files, and the tables in docs/exports.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.redact.projection import Column, ColumnKind, Leaving, Projection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.redact import Redactor

NEVER = "never"
NO_CONSENT = "free text was not asked for"

_TYPES: dict[ColumnKind, pl.DataType] = {
    ColumnKind.COUNT: pl.Int64(),
    ColumnKind.MEASURE: pl.Float64(),
    ColumnKind.FLAG: pl.Boolean(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column: what it may hold, its unit, and when it is null. `choices` belongs to a CHOICE."""

    name: str
    kind: ColumnKind
    meaning: str
    null: str = NEVER
    unit: str = ""
    choices: frozenset[str] = frozenset()

    @property
    def dtype(self) -> pl.DataType:
        """The column's type in a frame; times are text, cut to the hour or the day."""
        return _TYPES.get(self.kind, pl.String())


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A named table that may leave.

    `version` changes when a column goes, changes its meaning or its type; a new column at the end does not change it.
    `row_id` names the columns that tell one row from all others.
    """

    name: str
    version: int
    grain: str
    row_id: tuple[str, ...]
    fields: tuple[Field, ...]
    is_prose: bool = False
    """Whether the text columns are made of our own sentences, so that they leave without being asked for."""
    schema: dict[str, pl.DataType] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", {column.name: column.dtype for column in self.fields})

    @property
    def label(self) -> str:
        """Name and version, as files and messages carry it."""
        return f"kaizen.{self.name}/{self.version}"

    def project(
        self, rows: Sequence[Mapping[str, object]], redactor: Redactor, *, with_text: bool = False
    ) -> list[dict[str, Leaving]]:
        """Return rows with exactly the declared columns; those of free text are null without `with_text`.

        Raises:
            RedactionError: a value has not the declared type, or a column is missing; nothing may leave then.
        """
        is_open = with_text or self.is_prose
        kept = [one for one in self.fields if is_open or one.kind is not ColumnKind.TEXT]
        columns = tuple(
            Column(name=one.name, kind=one.kind, choices=one.choices, category=Category.NAME) for one in kept
        )
        projection = Projection(name=self.name, version=self.version, columns=columns, allow_text=is_open)
        empty: dict[str, Leaving] = dict.fromkeys(self.schema)
        return [empty | row for row in projection.project(rows, redactor)]

    def frame(self, rows: Sequence[Mapping[str, Leaving]]) -> pl.DataFrame:
        """Return projected rows as a frame of the declared schema."""
        return pl.DataFrame(rows, schema=self.schema, orient="row")
