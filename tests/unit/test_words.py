"""One spelling for every number; and whatever text holds, it stays text."""

from __future__ import annotations

import html
import json
import math
import re

import mistune
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.words import (
    clean,
    escape_html,
    escape_json,
    escape_markdown,
    format_change,
    format_difference,
    format_interval,
    format_number,
    format_percent,
    format_value,
    listed,
)

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


HIDDEN = [
    *(chr(code) for code in range(0x20) if chr(code) not in "\t\n"),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\ufeff\ufff9\ufffa\ufffb",
    *(chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))),
]


def test_no_control_reaches_a_page_a_terminal_or_json() -> None:
    for character in HIDDEN:
        assert clean(f"a{character} b") == "a\ufffd b"
        document = escape_json(json.dumps(f"a{character}b", ensure_ascii=False))
        assert character not in document
        assert json.loads(document) == f"a{character}b"


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1234.5, "1,234"),
        (-0.123456, "\u22120.1235"),
        (1e-9, "1.000e-09"),
        (1e15, "1.000e+15"),
        (math.inf, "no limit"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text", "change"),
    [
        (-12.34, "\u221212.3\u00a0%", "\u221212.3\u00a0%"),
        (-0.01, "0.0\u00a0%", "0.0\u00a0%"),
        (123.4, "123\u00a0%", "+123\u00a0%"),
        (12345.6, "12,346\u00a0%", "+12,346\u00a0%"),
        (math.inf, "no limit", "no limit"),
    ],
)
def test_percents_have_one_decimal_up_to_a_hundred(value: float, text: str, change: str) -> None:
    assert format_percent(value) == text
    assert format_change(value) == change


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (-20.0, 5.0, "\u221220.0 to +5.0\u00a0%"),
        (-math.inf, 5.0, "at most +5.0\u00a0%"),
        (-5.0, math.inf, "at least \u22125.0\u00a0%"),
        (-math.inf, math.inf, "no limits yet"),
    ],
)
def test_an_interval_has_its_unit_once(low: float, high: float, text: str) -> None:
    assert format_interval(low, high) == text


def test_values_of_metrics_have_their_unit() -> None:
    shown = [format_value(value, "USD") for value in (1.0017, 0.4421, 123.4, 1234.5, 0.0, 0.000012)]
    assert [text.removesuffix("\u00a0USD") for text in shown] == ["1.00", "0.442", "123", "1,234", "0", "1.2e-05"]
    assert [format_value(None, "USD"), format_value(0.25, "share")] == ["no value", "25.0\u00a0%"]
    assert format_difference(-0.05, "share") == "\u22125.0\u00a0points"
    assert format_difference(0.0, "USD") == "0\u00a0USD"
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
