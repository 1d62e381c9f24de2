"""Allow-listed projection: the only columns of a row that may leave, each with a type that holds no free text.

Redaction finds what looks like a secret; projection does not have to. A row that leaves is built from enumerated
columns (counts, amounts, choices, bucketed times, pseudonyms), and a value of another type is an error, never
passed through. Free text leaves only through a column declared as such, and redacted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact.placeholders import Category

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kaizen_analytics.redact.pseudonyms import Pseudonyms
    from kaizen_analytics.redact.redactor import Redactor

Leaving = int | float | bool | str | None
"""What an allow-listed cell may be."""

ID_DIGITS = 20
"""Two of ten million ids are equal with a chance of one in ten billion."""


class ColumnKind(StrEnum):
    """What a column that leaves may hold; null is always allowed."""

    COUNT = "count"  # a whole number from 0
    MEASURE = "measure"  # any finite number: costs, durations, shares
    FLAG = "flag"
    MOMENT = "moment"  # milliseconds since the epoch, as they are
    CHOICE = "choice"  # one of declared words, anything else becomes "other"
    WORD = "word"  # one of declared words, anything else becomes a stand-in that case and spelling decide
    FOLDER = "folder"  # a path, each part of it as a stand-in: what lies below what can still be told
    HOUR = "hour"  # milliseconds since the epoch, as UTC `2026-01-31T13`
    DAY = "day"  # the same, as UTC `2026-01-31`
    PSEUDONYM = "pseudonym"  # a stable stand-in for a name
    ID = "id"  # a longer one, which millions of rows can be told apart by
    TEXT = "text"  # free text, redacted; needs `allow_text`


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column that may leave. `choices` belongs to CHOICE and WORD, `category` to PSEUDONYM and ID."""

    name: str
    kind: ColumnKind
    choices: frozenset[str] = frozenset()
    category: Category = Category.USER


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A named, versioned list of the columns that may leave.

    Raises:
        RedactionError: on construction, when a text column is declared without `allow_text`, or a name twice.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    allow_text: bool = False
    _names: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        texts = [column.name for column in self.columns if column.kind is ColumnKind.TEXT]
        if texts and not self.allow_text:
            raise RedactionError(f"{self.name}: {', '.join(texts)} would leave as free text; set allow_text to agree.")
        if len(set(names)) < len(names):
            raise RedactionError(f"{self.name}: a column is declared twice in {', '.join(names)}.")
        object.__setattr__(self, "_names", frozenset(names))

    def project(self, rows: Iterable[Mapping[str, object]], redactor: Redactor) -> list[dict[str, Leaving]]:
        """Return each row reduced to the declared columns; what is not declared does not leave.

        Raises:
            RedactionError: a row lacks a declared column, or a value has not the type that was declared.
        """
        return [self._project_row(row, redactor) for row in rows]

    def _project_row(self, row: Mapping[str, object], redactor: Redactor) -> dict[str, Leaving]:
        missing = self._names - row.keys()
        if missing:
            raise RedactionError(f"{self.name}: a row lacks {', '.join(sorted(missing))}; expected every column.")
        return {column.name: self._project_cell(column, row[column.name], redactor) for column in self.columns}

    def _project_cell(self, column: Column, value: object, redactor: Redactor) -> Leaving:
        if value is None:
            return None
        cell = _CONVERTERS[column.kind](column, value, redactor)
        if cell is None:
            raise RedactionError(
                f"{self.name}.{column.name} holds a {type(value).__name__}; expected {column.kind.value}. "
                "Nothing has left.",
            )
        return cell


def _count(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _measure(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _flag(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return value if isinstance(value, bool) else None


def _choice(column: Column, value: object, _redactor: Redactor) -> Leaving:
    if not isinstance(value, str):
        return None
    return value if value in column.choices else "other"


def _moment(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LATEST_MS else None


def _stand_in(column: Column, value: object, redactor: Redactor) -> Leaving:
    return stand_in(column, value, redactor.pseudonyms) if isinstance(value, str) else None


def _hour(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return _bucket(value, "%Y-%m-%dT%H")


def _day(_column: Column, value: object, _redactor: Redactor) -> Leaving:
    return _bucket(value, "%Y-%m-%d")


LATEST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""


def _bucket(value: object, pattern: str) -> Leaving:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LATEST_MS:
        return None
    return datetime.fromtimestamp(value // 1000, UTC).strftime(pattern)


def stand_in(column: Column, value: str, pseudonyms: Pseudonyms) -> str:
    """Return what leaves in place of one text, in a column of kind WORD, FOLDER, PSEUDONYM or ID."""
    raw = value.encode("utf-8", "surrogatepass")
    match column.kind:
        case ColumnKind.WORD:
            return value if value in column.choices else pseudonyms.exact(raw, digits=ID_DIGITS)
        case ColumnKind.FOLDER:
            parts = raw.split(b"/")
            paths = (b"/".join(parts[: end + 1]) for end in range(len(parts)))
            return "/".join(pseudonyms.exact(path) if part else "" for part, path in zip(parts, paths, strict=True))
        case ColumnKind.ID:
            return pseudonyms.name(column.category, raw, digits=ID_DIGITS)
        case _:
            return pseudonyms.name(column.category, raw)


def _text(_column: Column, value: object, redactor: Redactor) -> Leaving:
    return redactor.redact(value) if isinstance(value, str) else None


_CONVERTERS: dict[ColumnKind, Callable[[Column, object, Redactor], Leaving]] = {
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
    ColumnKind.TEXT: _text,
}
