"""The description of the lake: documented as it is, and nothing in it is free text."""

from pathlib import Path

from lake_cases import KEY

from kaizen_analytics.lake.schema import TABLES, VERSION, TableName, name_workspace, render_markdown
from kaizen_analytics.redact import ColumnKind


def test_the_page_shows_the_tables_as_they_are() -> None:
    page = (Path(__file__).parents[3] / "docs" / "scale.md").read_text("utf-8")
    shown = page.split("<!-- lake tables: begin -->\n")[1].split("<!-- lake tables: end -->")[0]
    assert shown == render_markdown()
    assert f"Version {VERSION}. " in page


def test_no_column_is_text_and_every_row_names_its_source() -> None:
    assert set(TABLES) == set(TableName)
    for table in TABLES.values():
        columns = [item.column for item in table.columns]
        assert columns[0].name == "source"
        assert ColumnKind.TEXT not in {column.kind for column in columns}
        assert not table.projection.allow_text


def test_a_workspace_has_one_name_under_one_key() -> None:
    assert name_workspace("/srv/a", KEY) == name_workspace("/srv/a", KEY) != name_workspace("/srv/a", bytes(32))
