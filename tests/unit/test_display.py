"""What a result shows in a notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.display import Bar, Displayed, Table

HOSTILE = "<script>alert(1)</script> | **b** \x1b[31m\u202e\x00"
SMALL = Table(
    caption="Two rows",
    columns=("name", "size"),
    rows=(("a", "1"), ("long name", "20")),
    numeric=frozenset({1}),
    sentences=("One sentence.",),
)


class Shape(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on") or name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass(frozen=True, slots=True)
class Result(Displayed):
    """A result that shows one table."""

    table: Table

    def _table(self) -> Table:
        return self.table


def test_plain_text_is_aligned() -> None:
    assert SMALL.plain().splitlines() == [
        "Two rows",
        "name       size",
        "a             1",
        "long name    20",
        "One sentence.",
    ]


def test_markdown_is_a_table() -> None:
    assert SMALL.markdown().split("\n\n") == [
        "**Two rows**",
        "| name | size |\n| --- | ---: |\n| a | 1 |\n| long name | 20 |",
        "One sentence.",
    ]


def test_html_has_a_cell_for_every_value_and_names_no_colour() -> None:
    page = SMALL.html()
    assert Shape(page).names == [
        "p",
        "b",
        "table",
        "thead",
        "tr",
        "th",
        "th",
        "tbody",
        "tr",
        "th",
        "td",
        "tr",
        "th",
        "td",
        "p",
    ]
    assert "color" not in page


def test_dates_and_short_names_are_not_broken_in_html() -> None:
    table = replace(SMALL, rows=(("2026-09-07", "1"), ("a longer name", "2"), ("a name that wraps", "3")))
    assert table.html().count("white-space:nowrap") == 2
    assert "nowrap" in replace(SMALL, rows=(("total_tokens_per_session", "1"),)).html()
    assert "<p>With 95&nbsp;% confidence.</p>" in replace(table, sentences=("With 95 % confidence.",)).html()
    assert replace(table, sentences=("With 95 % confidence.",)).plain().endswith("With 95 % confidence.")


def test_a_table_without_a_caption_is_only_a_table() -> None:
    bare = replace(SMALL, caption="", sentences=())
    assert bare.html().startswith("<table>")
    assert bare.markdown().startswith("| name |")
    assert bare.plain().startswith("name ")


def test_bars_share_one_axis_that_holds_zero() -> None:
    bars = (Bar(estimate=-10, low=-20, high=0), None, Bar(estimate=5, low=-math.inf, high=math.inf))
    page = replace(SMALL, rows=(("a", "1"), ("b", "2"), ("c", "3")), bars=bars).html()
    drawn = page.split("<svg")[1:]
    assert len(drawn) == 2
    zeros = {part.split('x1="')[1].split('"')[0] for part in drawn}
    assert len(zeros) == 1, "the dashed line stands at the same place in both"
    assert "inf" not in page
    assert "nan" not in page


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_stays_text(caption: str, cell: str) -> None:
    table = Table(caption=caption, columns=("name",), rows=((cell,),), sentences=(caption,))
    assert Shape(table.html()).names == ["p", "b", "table", "thead", "tr", "th", "tbody", "tr", "th", "p"]
    assert table.markdown().count("\n") == 6
    assert table.plain()


@pytest.mark.parametrize("form", ["_repr_html_", "_repr_markdown_", "__str__"])
def test_a_displayed_result_escapes_in_every_form(form: str) -> None:
    shown = getattr(Result(replace(SMALL, caption=HOSTILE, rows=((HOSTILE, HOSTILE),))), form)()
    assert not {"\x00", "\x1b", "\u202e"} & set(shown)
    assert form == "__str__" or "<script" not in shown.replace("\\<script", "")


def test_a_notebook_gets_all_forms_and_the_mark_of_escaped_html() -> None:
    bundle, metadata = Result(SMALL)._repr_mimebundle_()
    assert bundle == {"text/html": SMALL.html(), "text/markdown": SMALL.markdown(), "text/plain": SMALL.plain()}
    assert metadata == {"kaizen": True}
