"""How the package writes: numbers, percents, intervals, times and plurals, and text that comes from data.

Every output uses these functions, so that one number has one spelling: true minus signs, a percent sign that no line
break separates from its number, thousands with commas.

Names, hypotheses and ids come from other people's stores and transcripts. They may hold markup, terminal sequences,
characters that turn the writing direction, NUL or halves of surrogate pairs; `clean` shows those instead of obeying
them, and the `escape_` functions keep text as text in HTML and Markdown.
"""

from __future__ import annotations

import html
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MINUS = "\N{MINUS SIGN}"
_PERCENT = "\N{NO-BREAK SPACE}%"
_POINTS = "\N{NO-BREAK SPACE}points"
_NO_LIMIT = "no limit"
_SPELT_UNITS = frozenset({"USD", "min"})
"""Units that are written behind a number; the others are part of the metric's name, or a percent sign."""

_ESCAPE_SEQUENCE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]"
)
_MARKDOWN_INLINE = re.compile(r"([\\`*_\[\]<>#|~&$@])")
_MARKDOWN_LINK = re.compile(r"(?<=:)//|(?<=www)\.", re.IGNORECASE)
_MARKDOWN_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=])(?=\s|$|[-=])")
_SPACES = re.compile(r"\s+")
_NOT_ZERO = re.compile("[1-9]")
_BREAKING_SPACES = re.compile(r"[ \t\n\v\f\r]+")


def clean(text: str) -> str:
    r"""Return `text` without terminal sequences, every hidden control character shown as U+FFFD.

    >>> clean("\x1b[31mred\x1b[0m")
    'red'
    """
    return _HIDDEN.sub("\ufffd", _ESCAPE_SEQUENCE.sub("", text))


def escape_html(text: str) -> str:
    """Return `text` for the content of an element or a quoted attribute.

    >>> escape_html("<b> & co")
    '&lt;b&gt; &amp; co'
    """
    return html.escape(clean(text), quote=True)


def escape_markdown(text: str) -> str:
    r"""Return `text` as one line of Markdown (CommonMark, with GitHub's extensions) that shows it literally.

    >>> print(escape_markdown("# 2 * 3"))
    \# 2 \* 3
    """
    line = _SPACES.sub(" ", clean(text)).strip()
    line = _MARKDOWN_INLINE.sub(r"\\\1", line)
    line = _MARKDOWN_LINK.sub(lambda found: f"\\{found.group()}", line)
    return _MARKDOWN_START.sub(lambda found: f"{found.group(1) or ''}\\{found.group(2) or found.group(3)}", line)


def escape_json(document: str) -> str:
    r"""Return a JSON document whose strings spell hidden control characters as escapes.

    >>> escape_json('["a\u202eb"]')
    '["a\\u202eb"]'
    """
    return _HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", document)


def join_lines(text: str) -> str:
    r"""Return `text` on one line; spaces that must not break stay.

    >>> join_lines("two\n  lines")
    'two lines'
    """
    return _BREAKING_SPACES.sub(" ", text).strip(" ")


def capitalised(text: str) -> str:
    """Return `text` with a capital first letter; the rest stays.

    >>> capitalised("a USD price")
    'A USD price'
    """
    return text[:1].upper() + text[1:]


def lowered(text: str) -> str:
    """Return `text` with a small first letter; the rest stays.

    >>> lowered("The USD price")
    'the USD price'
    """
    return text[:1].lower() + text[1:]


def counted(number: int, noun: str) -> str:
    """Return a count and a noun whose plural ends in s.

    >>> counted(1, "session"), counted(1200, "session")
    ('1 session', '1,200 sessions')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return names as part of a sentence.

    >>> listed(["cost", "time", "loops"])
    'cost, time and loops'
    """
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def format_number(value: float, /) -> str:
    """Return four significant digits, or a whole number when it is large.

    >>> format_number(1234.5), format_number(0.123456), format_number(float("inf"))
    ('1,234', '0.1235', 'no limit')
    """
    if math.isinf(value):
        return _NO_LIMIT
    if value == 0 or 1e-4 <= abs(value) < 1e15:
        text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
        return "0" if text == "-0" else _minus(text)
    return _minus(f"{value:.3e}")


def compact(number: float) -> str:
    """Return a number with three significant digits and k, M or G.

    >>> compact(1_294_000), compact(512), compact(999_900)
    ('1.29 M', '512', '1 M')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= 0.9995 * size:  # with three digits, that is one of the unit
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def format_percent(value: float, /) -> str:
    r"""Return a percentage with one decimal up to 100 %, none beyond.

    >>> format_percent(12.34), format_percent(123.4), format_percent(-0.01)
    ('12.3\xa0%', '123\xa0%', '0.0\xa0%')
    """
    if math.isinf(value):
        return _NO_LIMIT
    if abs(value) >= 1e15:
        return f"{value:.3e}{_PERCENT}"
    digits = 1 if abs(value) < 100 else 0
    sign = _MINUS if value < 0 and float(f"{value:.{digits}f}") != 0 else ""
    return f"{sign}{abs(value):,.{digits}f}{_PERCENT}"


def format_share(value: float, /) -> str:
    r"""Return a share between 0 and 1 as a percentage.

    >>> format_share(0.5)
    '50.0\xa0%'
    """
    return format_percent(100 * value)


def format_points(difference: float, /) -> str:
    r"""Return the difference of two shares in percentage points.

    >>> format_points(0.05)
    '5.0\xa0points'
    """
    if math.isinf(difference):
        return _NO_LIMIT
    text = f"{100 * difference:.1f}{_POINTS}"
    return _minus(text) if _NOT_ZERO.search(text) else text.removeprefix("-")


def format_given(percent: float) -> str:
    r"""Return a percentage that somebody chose, such as a target, with the digits that it was given.

    >>> format_given(20.0), format_given(2.5)
    ('20\xa0%', '2.5\xa0%')
    """
    return _minus(f"{percent:g}") + _PERCENT


def format_change(percent: float, /) -> str:
    r"""Return a percent change with its sign.

    >>> format_change(12.34), format_change(-200.4), format_change(0.04)
    ('+12.3\xa0%', '−200\xa0%', '0.0\xa0%')
    """
    return _signed(percent, format_percent(abs(percent)))


def format_interval(low: float, high: float, form: Callable[[float], str] = format_change) -> str:
    r"""Return the ends of an interval, the unit once; an infinite end is left out.

    >>> format_interval(-20.0, 5.0), format_interval(float("-inf"), 5.0)
    ('−20.0 to +5.0\xa0%', 'at most +5.0\xa0%')
    """
    if math.isinf(low) and math.isinf(high):
        return "no limits yet"
    if math.isinf(low):
        return f"at most {form(high)}"
    if math.isinf(high):
        return f"at least {form(low)}"
    first, last = form(low), form(high)
    _, blank, unit = last.partition("\N{NO-BREAK SPACE}")
    return f"{first.removesuffix(blank + unit)} to {last}"


def format_value(value: float | None, unit: str) -> str:
    r"""Return a value of a metric: a share as a percentage, money and minutes with their unit, any other number bare.

    >>> format_value(0.25, "share"), format_value(0.16881, "USD"), format_value(21773.0, "tokens")
    ('25.0\xa0%', '0.169\xa0USD', '21,773')
    """
    if value is None:
        return "no value"
    if unit == "share":
        return format_share(value)
    if unit not in _SPELT_UNITS:
        return format_number(value)
    if math.isinf(value):
        return _NO_LIMIT
    digits = f"{value:#.3g}".removesuffix(".") if 0.001 <= abs(value) < 1000 else f"{value:,.3g}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else digits
    return f"{_minus(text)}\N{NO-BREAK SPACE}{unit}"


def format_difference(value: float, unit: str) -> str:
    r"""Return the difference of two values of a metric with its sign; shares differ by percentage points.

    >>> format_difference(-0.05, "share"), format_difference(1.5, "USD")
    ('−5.0\xa0points', '+1.50\xa0USD')
    """
    if math.isinf(value):
        return _NO_LIMIT
    return _signed(value, format_points(abs(value)) if unit == "share" else format_value(abs(value), unit))


def format_p_value(value: float | None) -> str:
    """Return a p value with three digits.

    >>> format_p_value(0.04217), format_p_value(None)
    ('0.0422', 'none')
    """
    return "none" if value is None else f"{value:.3g}"


def format_moment(at_ms: int) -> str:
    """Return a time, in milliseconds since the Unix epoch, as ISO 8601 text in UTC, to the second.

    >>> format_moment(0)
    '1970-01-01T00:00:00Z'
    """
    return _moment(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_day(at_ms: int) -> str:
    """Return the day of a time in words, in UTC.

    >>> format_day(0)
    '1 January 1970'
    """
    moment = _moment(at_ms)
    return f"{moment.day} {moment:%B %Y}"


def format_minute(at_ms: int) -> str:
    """Return a time in UTC, to the minute, for a reader.

    >>> format_minute(0)
    '1970-01-01 00:00 UTC'
    """
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M UTC")


def _minus(number: str) -> str:
    return _MINUS + number[1:] if number.startswith("-") else number


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _signed(value: float, size: str) -> str:
    """Return a size with the sign of `value`; one that shows as zero, or has no digits, has none."""
    return f"{'+' if value > 0 else _MINUS}{size}" if _NOT_ZERO.search(size) else size
