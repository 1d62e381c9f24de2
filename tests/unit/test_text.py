"""Whatever text holds, it stays text."""

from __future__ import annotations

import html
import re

import mistune
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.text import clean, escape_html, escape_markdown

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1))",
    "![x](https://example.org/pixel.png)",
    "https://example.org/ and www.example.org",
    "# heading",
    "- item",
    "1. item",
    "===",
    "**bold** `code` ~~gone~~ | cell |",
    "&lt;b&gt; &#60;",
    "line one\n\n# heading\n\n> quote",
    "<!-- comment",
    "\\*",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_the_text_itself(text: str) -> None:
    rendered = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])(escape_markdown(text))
    shown = re.fullmatch(r"<p>(.*)</p>\n", rendered, flags=re.DOTALL)
    assert shown is not None, rendered
    assert html.unescape(shown.group(1)) == " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_html_has_no_markup_left(text: str) -> None:
    escaped = escape_html(text)
    assert not set("<>\"'") & set(escaped)
    assert html.unescape(escaped) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://example.org\x07link\x1b]8;;\x07", "link"),
        ("a\x00b", "a\ufffdb"),
        ("abc\u202ecba", "abc\ufffdcba"),
        ("half \ud83d pair", "half \ufffd pair"),
        ("tab\tand\nnewline stay", "tab\tand\nnewline stay"),
        ("\u05e9\u05dc\u05d5\u05dd and 👩‍💻 stay", "\u05e9\u05dc\u05d5\u05dd and 👩‍💻 stay"),
    ],
)
def test_hidden_characters_are_shown(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_can_be_written_as_utf_8(text: str) -> None:
    assert "\x1b" not in clean(text)
    escape_html(text).encode()
    escape_markdown(text).encode()
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet="ab<>&|\"'`*_[]()!#-+=.1 \n~\\:/"))
def test_markdown_of_any_text_is_one_paragraph_without_markup(text: str) -> None:
    rendered = mistune.create_markdown(escape=False, plugins=["table", "strikethrough", "url"])(escape_markdown(text))
    inner = rendered.removeprefix("<p>").removesuffix("</p>\n")
    assert "<" not in inner
    assert html.unescape(inner) == " ".join(text.split())
