"""Tables and pages fit the terminal; what they lose for that is named."""

from __future__ import annotations

import pytest

from kaizen_analytics.cli.output import print_page, print_table
from kaizen_analytics.pages.blocks import paragraph, stack, table

ID = "3c7e488d-d200-4459-a292-559880d9917c"


def show(capsys: pytest.CaptureFixture[str], width: int) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > width] == []
    return lines


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def test_ids_stay_whole_and_the_columns_that_went_are_named(capsys: pytest.CaptureFixture[str]):
    row = (ID, "a long name of a branch", 1_234_567, "another text that is long", 7_654_321)
    print_table(["session", "branch", "tokens", "note", "cost"], [row])

    assert show(capsys, 60) == [
        f"{'session':36}  branch",
        f"{ID}  a long name…",
        "Not shown at this width: tokens, note, cost.",
    ]


def test_a_wrapped_column_gets_the_room_that_is_left(capsys: pytest.CaptureFixture[str]):
    print_table(["id", "text"], [(ID, "one two three four five six")], wrapped="text")

    assert show(capsys, 60) == [f"{'id':36}  text", f"{ID}  one two three four", f"{'':36}  five six"]


def test_a_page_wraps_its_sentences_and_sets_its_tables_again(capsys: pytest.CaptureFixture[str]):
    sentence = "Ten words that are more than one line of sixty columns, surely."
    rows = [("the first", "5 %", "because of this and of that because of this and of that")]
    print_page(stack(paragraph(sentence), table(["name", "share", "why"], rows, caption="Caption", numeric=(1,))))

    assert show(capsys, 60) == [
        "Ten words that are more than one line of sixty columns,",
        "surely.",
        "",
        "Caption",
        "name       share  why",
        "the first    5 %  because of this and of that because of",
        "                  this and of that",
    ]
