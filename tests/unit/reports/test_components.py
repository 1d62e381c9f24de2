"""Blocks: one content, three forms, nothing of it markup from data."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.pages import blocks
from kaizen_analytics.pages.blocks import DATA_MIME, Figure, Mark, Tone

EVIL = "</td><script>alert(1)</script>\u202e\x00 **x**"


class Elements(HTMLParser):
    """The names of all elements, and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.names.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


BLOCKS = {
    "title": lambda text: blocks.title(text, text),
    "section": blocks.section,
    "subheading": blocks.subheading,
    "paragraph": lambda text: blocks.paragraph(text, label=text),
    "bullets": lambda text: blocks.bullets([text, text]),
    "callout": lambda text: blocks.callout(Tone.BAD, text, blocks.paragraph(text)),
    "tiles": lambda text: blocks.tiles([(text, text, text)]),
    "facts": lambda text: blocks.facts([(text, text)]),
    "table": lambda text: blocks.table([text, text], [(text, Mark(tone=Tone.GOOD, text=text))], caption=text),
    "figure": lambda text: blocks.figure(Figure(wide="", narrow="", alt=text), text),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_text_from_data_adds_no_element(name: str) -> None:
    hostile, harmless = Elements(BLOCKS[name](EVIL).html), Elements(BLOCKS[name]("x").html)
    assert hostile.names == harmless.names
    assert "script" not in hostile.names
    for form in (BLOCKS[name](EVIL).html, BLOCKS[name](EVIL).markdown, BLOCKS[name](EVIL).plain):
        assert not set("\x00\u202e") & set(form)
        assert "alert(1)" in form


def test_a_table_in_markdown_keeps_its_columns() -> None:
    block = blocks.table(["name", "n"], [("a|b", "1"), ("c\nd", "2")], caption="Counts", numeric=(1,))
    assert block.markdown == "**Counts**\n\n| name | n |\n| --- | ---: |\n| a\\|b | 1 |\n| c d | 2 |"


def test_a_table_heads_rows_and_columns() -> None:
    block = blocks.table(["name", "n"], [("a", "1")], caption="Counts", numeric=(1,))
    assert '<th scope="col" style="text-align:right;overflow-wrap:normal">n</th>' in block.html
    assert (
        'dir="auto" style="text-align:left;min-width:0;white-space:nowrap">a</th><td class="num" data-label="n">1</td>'
        in block.html
    )


def test_plain_text_is_aligned_with_ordinary_spaces() -> None:
    rows = [("a", "1\u00a0%"), ("long name", "20\u00a0%")]
    assert blocks.table(["name", "size"], rows, caption="Two rows", numeric=(1,)).plain.splitlines() == [
        "Two rows",
        "name       size",
        "a           1 %",
        "long name  20 %",
    ]


def test_dates_and_short_names_are_not_broken_in_html() -> None:
    rows = [("2026-09-07",), ("a longer name",), ("a name that wraps",), ("total_tokens_per_session",)]
    assert blocks.table(["name"], rows).html.count("white-space:nowrap") == 3


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_stays_text(caption: str, cell: str) -> None:
    block = blocks.table(["name"], [(cell,)], caption=caption)
    assert Elements(block.html).names == ["table", "caption", "thead", "tr", "th", "tbody", "tr", "th"]
    assert block.markdown.count("\n") == 4


def test_code_between_backticks_stays_code() -> None:
    block = blocks.paragraph("run `a_b <c>` - *now*", code=True)
    assert block.html == '<p dir="auto">run <code>a_b &lt;c&gt;</code> - *now*</p>'
    assert block.markdown == "run `a_b <c>` - \\*now\\*"
    assert block.plain == "run a_b <c> - *now*"


def test_a_state_is_not_said_by_colour_alone() -> None:
    block = blocks.table(["check", "state"], [("split", Mark(tone=Tone.BAD, text="off"))], caption="Checks")
    assert "\u2717" in block.html
    assert "\u2717 off" in block.markdown
    assert "\u2717 off" in block.plain


def test_facts_without_a_value_are_left_out() -> None:
    assert blocks.facts([("a", "1"), ("b", "")]).plain == "a: 1"


def test_a_box_is_a_quotation_in_markdown() -> None:
    block = blocks.callout(Tone.GOOD, "Ship", blocks.paragraph("It works."))
    assert block.markdown == "> **Ship**\n>\n> It works."


def test_a_notebook_gets_every_form_and_the_mark_of_trust() -> None:
    data, metadata = blocks.paragraph("x")._repr_mimebundle_()
    assert set(data) == {"text/html", "text/markdown", "text/plain"}
    assert metadata == {"kaizen": True}


def test_data_shows_nothing() -> None:
    data, _ = blocks.Block(data={"a": 1})._repr_mimebundle_()
    assert data == {"text/html": "", "text/markdown": "", "text/plain": "", DATA_MIME: {"a": 1}}


def test_a_browser_breaks_no_option_and_no_time():
    html = blocks.paragraph("Add --treatment-file by 2026-05-27T00:00:00Z; well-known a--b stay.").html
    assert html.count("nowrap") == 2
    assert '<span style="white-space:nowrap">--treatment-file</span>' in html
    assert '<span style="white-space:nowrap">2026-05-27T00:00:00Z</span>' in html
