"""The projection: each cell as its kind demands, by the rule for one cell; anything else stops the export."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.exports.columns import Column, ColumnKind, Table
from kaizen_analytics.exports.project import LATEST_MS, make_frame, make_pseudonym, project
from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner

PSEUDONYMS = Pseudonyms(bytes(32))
REDACTOR = Redactor(Scanner(), PSEUDONYMS)
WORDS = frozenset({"codex", "a b"})
COLUMNS = tuple(Column(kind.value, kind, "one of each", words=WORDS) for kind in ColumnKind)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["codex", "Codex", "/a/b", "/a/b/", "//"])
MOMENTS = st.integers(0, LATEST_MS)
CELLS = {
    ColumnKind.COUNT: st.integers(0, 2**63 - 1),
    ColumnKind.MEASURE: st.floats(allow_nan=False, allow_infinity=False),
    ColumnKind.FLAG: st.booleans(),
    **dict.fromkeys([ColumnKind.MOMENT, ColumnKind.HOUR, ColumnKind.DAY], MOMENTS),
}
ROW = st.fixed_dictionaries({one.name: st.none() | CELLS.get(one.kind, TEXTS) for one in COLUMNS})


def make_table(*columns: Column) -> Table:
    return Table(name="t", version=1, grain="a row", key=(columns[0].name,), columns=columns)


def convert(column: Column, value: object) -> object:  # noqa: PLR0911 - a case for each kind
    """The rule for one cell, written anew."""
    match column.kind:
        case _ if value is None:
            return None
        case ColumnKind.COUNT | ColumnKind.MEASURE | ColumnKind.FLAG | ColumnKind.MOMENT:
            return value
        case ColumnKind.HOUR:
            return datetime.fromtimestamp(int(str(value)) // 1000, UTC).strftime("%Y-%m-%dT%H")
        case ColumnKind.DAY:
            return datetime.fromtimestamp(int(str(value)) // 1000, UTC).strftime("%Y-%m-%d")
        case ColumnKind.CHOICE:
            return value if value in WORDS else "other"
        case ColumnKind.TEXT:
            return REDACTOR.redact(str(value))
        case _:
            return make_pseudonym(column, str(value), PSEUDONYMS)


@given(st.lists(ROW, max_size=6))
def test_every_cell_follows_the_rule_of_its_kind(rows: list[dict[str, object]]):
    table = make_table(*COLUMNS)
    raw = table.schema | {kind: pl.Int64() for kind in (ColumnKind.HOUR, ColumnKind.DAY)}
    projected = project(table, pl.DataFrame(rows, schema=raw), PSEUDONYMS, redact=REDACTOR.redact)
    assert projected.schema == table.schema
    assert projected.to_dicts() == [{one.name: convert(one, row[one.name]) for one in COLUMNS} for row in rows]


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (ColumnKind.COUNT, [1, -1]),
        (ColumnKind.COUNT, [1.0]),
        (ColumnKind.COUNT, [True]),
        (ColumnKind.COUNT, ["1"]),
        (ColumnKind.MEASURE, [float("nan")]),
        (ColumnKind.MEASURE, ["1"]),
        (ColumnKind.FLAG, [1]),
        (ColumnKind.MOMENT, [LATEST_MS + 1]),
        (ColumnKind.HOUR, [2**62]),
        (ColumnKind.DAY, ["2026-01-01"]),
        (ColumnKind.CHOICE, [3]),
        (ColumnKind.WORD, [b"raw"]),
        (ColumnKind.FOLDER, [["/a"]]),
        (ColumnKind.ID, [7]),
        (ColumnKind.PSEUDONYM, [7]),
        (ColumnKind.TEXT, [7]),
    ],
)
def test_a_cell_of_another_kind_stops_everything(kind: ColumnKind, cells: list[object]):
    table = make_table(Column("c", kind, "a cell", words=WORDS))
    with pytest.raises(RedactionError, match=rf"t\.c holds .* no {kind.value}\. Nothing has left"):
        project(table, pl.DataFrame({"c": cells}), PSEUDONYMS, redact=REDACTOR.redact)


def test_too_large_a_count_does_not_wrap_around():
    table = make_table(Column("c", ColumnKind.COUNT, "a count"))
    with pytest.raises(RedactionError):
        project(table, pl.DataFrame({"c": [2**63]}, schema={"c": pl.UInt64}), PSEUDONYMS)


def test_only_declared_columns_leave_and_none_may_lack():
    table = make_table(Column("c", ColumnKind.COUNT, "a count"))
    assert project(table, pl.DataFrame({"d": ["x"], "c": [1]}), PSEUDONYMS).to_dicts() == [{"c": 1}]
    with pytest.raises(RedactionError, match="the frame lacks c"):
        project(table, pl.DataFrame({"d": ["x"]}), PSEUDONYMS)


def test_free_text_leaves_only_redacted():
    table = make_table(Column("n", ColumnKind.COUNT, "a count"), Column("c", ColumnKind.TEXT, "a text"))
    frame = pl.DataFrame({"n": [1, 2], "c": ["mail jane.doe@corp.io", None]})
    assert project(table, frame, PSEUDONYMS)["c"].to_list() == [None, None]
    text, empty = project(table, frame, PSEUDONYMS, redact=REDACTOR.redact)["c"]
    assert text.startswith("mail <R:em:")
    assert empty is None


def test_no_rows_make_the_declared_schema():
    table = make_table(*COLUMNS)
    assert project(table, make_frame(table, []), PSEUDONYMS).schema == table.schema


def test_folders_keep_what_lies_below_what_and_nothing_else():
    table = make_table(Column("c", ColumnKind.FOLDER, "a folder"))
    frame = pl.DataFrame({"c": ["/srv/team", "/srv/team/app", "/srv/Team", "/srv", "/opt/team"]})
    team, below, other, above, elsewhere = project(table, frame, PSEUDONYMS)["c"]
    assert below.startswith(f"{team}/")
    assert team.startswith(f"{above}/")
    assert other != team
    assert elsewhere.split("/")[-1] != team.split("/")[-1]


def test_words_keep_their_case_and_ids_do_not():
    table = make_table(Column("w", ColumnKind.WORD, "a word", words=WORDS), Column("i", ColumnKind.ID, "an id"))
    rows = project(table, pl.DataFrame({"w": ["codex", "Bash", "bash"], "i": ["x", "A", "a"]}), PSEUDONYMS)
    assert rows["w"][0] == "codex"
    assert rows["w"][1] != rows["w"][2]
    assert rows["i"][1] == rows["i"][2]
