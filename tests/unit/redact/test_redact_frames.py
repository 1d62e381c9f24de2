"""Whole frames pass the projection with the same cells as row by row."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact import Column, ColumnKind, Projection, Pseudonyms, Redactor, Scanner
from kaizen_analytics.redact.frames import frame_schema, project_frame
from kaizen_analytics.redact.projection import LATEST_MS

PSEUDONYMS = Pseudonyms(bytes(32))
REDACTOR = Redactor(Scanner(), PSEUDONYMS)
WORDS = frozenset({"codex", "a b"})
COLUMNS = tuple(Column(name=kind.value, kind=kind, choices=WORDS) for kind in ColumnKind if kind is not ColumnKind.TEXT)
EVERYTHING = Projection(name="everything", version=1, columns=COLUMNS)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["codex", "Codex", "/a/b", "/a/b/", "//"])
MOMENTS = st.integers(0, LATEST_MS)
CELLS = {
    ColumnKind.COUNT: st.integers(0, 2**63 - 1),
    ColumnKind.MEASURE: st.floats(allow_nan=False, allow_infinity=False),
    ColumnKind.FLAG: st.booleans(),
    **dict.fromkeys([ColumnKind.MOMENT, ColumnKind.HOUR, ColumnKind.DAY], MOMENTS),
}
ROWS = st.lists(
    st.fixed_dictionaries({kind.name: st.none() | CELLS.get(kind.kind, TEXTS) for kind in COLUMNS}), max_size=6
)


@given(ROWS)
def test_a_frame_gives_the_cells_of_its_rows(rows: list[dict[str, object]]) -> None:
    raw = {
        column.name: pl.Int64() if column.kind in (ColumnKind.HOUR, ColumnKind.DAY) else dtype
        for column, dtype in zip(COLUMNS, frame_schema(EVERYTHING).values(), strict=True)
    }
    projected = project_frame(EVERYTHING, pl.DataFrame(rows, schema=raw), PSEUDONYMS)
    assert projected.to_dicts() == EVERYTHING.project(rows, REDACTOR)
    assert projected.schema == frame_schema(EVERYTHING)


@pytest.mark.parametrize(
    ("kind", "cells"),
    [
        (ColumnKind.COUNT, [1, -1]),
        (ColumnKind.COUNT, [1.0]),
        (ColumnKind.COUNT, [True]),
        (ColumnKind.MEASURE, [float("nan")]),
        (ColumnKind.MEASURE, ["1"]),
        (ColumnKind.FLAG, [1]),
        (ColumnKind.MOMENT, [LATEST_MS + 1]),
        (ColumnKind.DAY, ["2026-01-01"]),
        (ColumnKind.CHOICE, [3]),
        (ColumnKind.WORD, [b"raw"]),
        (ColumnKind.FOLDER, [["/a"]]),
        (ColumnKind.ID, [7]),
        (ColumnKind.PSEUDONYM, [7]),
    ],
)
def test_a_cell_of_another_kind_stops_everything(kind: ColumnKind, cells: list[object]) -> None:
    projection = Projection(name="p", version=1, columns=(Column(name="c", kind=kind, choices=WORDS),))
    with pytest.raises(RedactionError, match=rf"p\.c holds .* no {kind.value}\. Nothing has left"):
        project_frame(projection, pl.DataFrame({"c": cells}), PSEUDONYMS)


def test_too_large_a_count_does_not_wrap_around() -> None:
    projection = Projection(name="p", version=1, columns=(Column(name="c", kind=ColumnKind.COUNT),))
    with pytest.raises(RedactionError):
        project_frame(projection, pl.DataFrame({"c": [2**63]}, schema={"c": pl.UInt64}), PSEUDONYMS)


def test_only_declared_columns_leave_and_none_may_lack() -> None:
    projection = Projection(name="p", version=1, columns=(Column(name="c", kind=ColumnKind.COUNT),))
    assert project_frame(projection, pl.DataFrame({"d": ["x"], "c": [1]}), PSEUDONYMS).to_dicts() == [{"c": 1}]
    with pytest.raises(RedactionError, match="the frame lacks c"):
        project_frame(projection, pl.DataFrame({"d": ["x"]}), PSEUDONYMS)


def test_free_text_never_leaves_in_a_frame() -> None:
    projection = Projection(name="p", version=1, columns=(Column(name="c", kind=ColumnKind.TEXT),), allow_text=True)
    with pytest.raises(RedactionError, match="no text"):
        project_frame(projection, pl.DataFrame({"c": ["x"]}), PSEUDONYMS)


def test_folders_keep_what_lies_below_what_and_nothing_else() -> None:
    projection = Projection(name="p", version=1, columns=(Column(name="c", kind=ColumnKind.FOLDER),))
    frame = pl.DataFrame({"c": ["/srv/team", "/srv/team/app", "/srv/Team", "/srv", "/opt/team"]})
    team, below, other, above, elsewhere = project_frame(projection, frame, PSEUDONYMS)["c"]
    assert below.startswith(f"{team}/")
    assert team.startswith(f"{above}/")
    assert other != team
    assert elsewhere.split("/")[-1] != team.split("/")[-1]


def test_words_keep_their_case_and_ids_do_not() -> None:
    columns = (Column(name="w", kind=ColumnKind.WORD, choices=WORDS), Column(name="i", kind=ColumnKind.ID))
    projection = Projection(name="p", version=1, columns=columns)
    rows = project_frame(projection, pl.DataFrame({"w": ["codex", "Bash", "bash"], "i": ["x", "A", "a"]}), PSEUDONYMS)
    assert rows["w"][0] == "codex"
    assert rows["w"][1] != rows["w"][2]
    assert rows["i"][1] == rows["i"][2]
