"""Text from data made safe for HTML, Markdown and plain text: whatever it holds, it stays text.

Names, hypotheses and ids come from other people's stores and transcripts. They may hold markup, terminal escape
sequences, characters that turn the writing direction, NUL or halves of surrogate pairs.
"""

from __future__ import annotations

import html
import re

_ESCAPE_SEQUENCE = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])")
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff]",
)
_MARKDOWN_INLINE = re.compile(r"([\\`*_\[\]<>#|~&$@])")
_MARKDOWN_LINK = re.compile(r"(?<=:)//|(?<=www)\.", re.IGNORECASE)
_MARKDOWN_START = re.compile(r"^(\d{1,9})([.)])(?=\s|$)|^([-+=])(?=\s|$|[-=])")
_SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """Return `text` without terminal sequences, every hidden control character shown as U+FFFD."""
    return _HIDDEN.sub("\ufffd", _ESCAPE_SEQUENCE.sub("", text))


def escape_html(text: str) -> str:
    """Return `text` for the content of an element or a quoted attribute."""
    return html.escape(clean(text), quote=True)


def escape_markdown(text: str) -> str:
    """Return `text` as one line of Markdown (CommonMark, with GitHub's extensions) that shows it literally."""
    line = _SPACES.sub(" ", clean(text)).strip()
    line = _MARKDOWN_INLINE.sub(r"\\\1", line)
    line = _MARKDOWN_LINK.sub(lambda found: f"\\{found.group()}", line)
    return _MARKDOWN_START.sub(lambda found: f"{found.group(1) or ''}\\{found.group(2) or found.group(3)}", line)


def escape_plain(text: str) -> str:
    """Return `text` for a terminal."""
    return clean(text)


def counted(number: int, noun: str) -> str:
    """Return `1 session`, or `1,200 sessions`: a count and a noun whose plural ends in s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
