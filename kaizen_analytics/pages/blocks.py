"""The parts of a page. Each is a `Block`: the same content as HTML, as Markdown and as plain text for a terminal.

A notebook cell that ends in a block shows it; a report, a command and an export pick the form that they need. The HTML
has no script, loads nothing and names no colour. Every text is escaped here, so that no caller has to remember it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.words import clean, escape_html, escape_markdown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

TRUSTED = "kaizen"
"""Key of the output metadata that marks HTML as escaped by this package."""
DATA_MIME = "application/vnd.kaizen.report+json"
"""The machine-readable content of a report, from which `report.json` is made."""


class Tone(StrEnum):
    """What a box or a mark says at a glance; never by colour alone."""

    GOOD = "good"
    BAD = "bad"
    UNCLEAR = "unclear"
    NEUTRAL = "neutral"


_MARKS = {Tone.GOOD: "\u2713", Tone.BAD: "\u2717", Tone.UNCLEAR: "?", Tone.NEUTRAL: "\u2013"}
_WHOLE, _WHOLE_WORD = 13, 26
"""A text of up to so many characters is not broken: a date, the name of an agent, the beginning of a session's id; and
one without a place to break, such as the name of a metric."""


_UNBROKEN = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*|\d{4}-\d\d-\d\d(?:T[\d:]+Z)?")
"""Options and dates in a sentence, which a browser would break at a hyphen."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table in plain text: a caption, the lines of its cells (the first are the columns), and what aligns right."""

    caption: str
    lines: Sequence[Sequence[str]]
    numeric: Collection[int]

    def __str__(self) -> str:
        """Return the table with its columns set."""
        widths = [max(len(cell) for cell in column) for column in zip(*self.lines, strict=True)]
        padded = [
            [cell.rjust(widths[n]) if n in self.numeric else cell.ljust(widths[n]) for n, cell in enumerate(line)]
            for line in self.lines
        ]
        return "\n".join([*([self.caption] if self.caption else []), *("  ".join(line).rstrip() for line in padded)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of a report in three forms, already escaped; `data` is what `report.json` holds, and no form shows it.

    `parts` are the third form, plain text, which a terminal may set anew.
    """

    html: str = ""
    markdown: str = ""
    parts: Sequence[str | _Rows] = ()
    data: Mapping[str, Any] | None = None

    @property
    def plain(self) -> str:
        """The parts, one below the other."""
        return "\n\n".join(map(str, self.parts))

    def _repr_mimebundle_(self, **options: object) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ARG002
        bundle: dict[str, Any] = {"text/html": self.html, "text/markdown": self.markdown, "text/plain": self.plain}
        if self.data is not None:
            bundle[DATA_MIME] = dict(self.data)
        return bundle, {TRUSTED: True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart: the SVG for a page, the SVG for a phone, and its content in words."""

    wide: str
    narrow: str
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A table cell with a sign in front of its words, such as a check that passed."""

    tone: Tone
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A table cell that leads to another page; only HTML has the link, because other forms are pasted elsewhere."""

    address: str
    text: str


_Cell = str | Mark | Link


def _escape_plain(text: str) -> str:
    r"""Return text for a terminal: nothing hidden in it, ordinary spaces.

    >>> _escape_plain("5\xa0%")
    '5 %'
    """
    return clean(text).replace("\N{NO-BREAK SPACE}", " ")


def stack(*blocks: Block) -> Block:
    """Return blocks one below the other.

    >>> stack(paragraph("a"), Block(), paragraph("b")).html.count("<p")
    2
    """
    return Block(
        html="\n".join(block.html for block in blocks if block.html),
        markdown="\n\n".join(block.markdown for block in blocks if block.markdown),
        parts=[part for block in blocks for part in block.parts],
    )


def title(text: str, subtitle: str) -> Block:
    """Return the heading of the page.

    >>> print(title("Portfolio", "3 experiments").plain)
    Portfolio
    3 experiments
    """
    return Block(
        html=f'<header><p class="eyebrow">{escape_html(subtitle)}</p><h1 dir="auto">{escape_html(text)}</h1></header>',
        markdown=f"# {escape_markdown(text)}\n\n{escape_markdown(subtitle)}",
        parts=[f"{_escape_plain(text)}\n{_escape_plain(subtitle)}"],
    )


def section(text: str) -> Block:
    """Return the heading of a section.

    >>> section("Bets").markdown
    '## Bets'
    """
    return Block(
        html=f"<h2>{escape_html(text)}</h2>",
        markdown=f"## {escape_markdown(text)}",
        parts=[f"{_escape_plain(text)}\n{'-' * len(text)}"],
    )


def subheading(text: str, *, code: bool = False) -> Block:
    """Return a heading inside a section; with `code`, what stands between backticks is code.

    >>> subheading("run `make`", code=True).markdown
    '### run `make`'
    """
    shown = _line(text, code=code)
    return Block(html=f'<h3 dir="auto">{shown.html}</h3>', markdown=f"### {shown.markdown}", parts=shown.parts)


def paragraph(text: str, *, label: str | None = None, quiet: bool = False, code: bool = False) -> Block:
    """Return one paragraph, with a bold `label` in front if there is one; with `code`, backticks enclose code.

    >>> paragraph("It works.", label="Rule.").markdown
    '**Rule.** It works.'
    """
    head = "" if label is None else f"<strong>{escape_html(label)}</strong> "
    kind = ' class="quiet"' if quiet else ""
    bold = "" if label is None else f"**{escape_markdown(label)}** "
    shown = _line(text, code=code)
    return Block(
        html=f'<p{kind} dir="auto">{head}{shown.html}</p>',
        markdown=f"{bold}{shown.markdown}",
        parts=[f"{'' if label is None else f'{_escape_plain(label)} '}{shown.plain}"],
    )


def bullets(items: Iterable[str]) -> Block:
    """Return a list of sentences; nothing without any.

    >>> print(bullets(["one", "two"]).plain)
    - one
    - two
    """
    texts = list(items)
    if not texts:
        return Block()
    return Block(
        html=f"<ul>{''.join(f'<li>{escape_html(text)}</li>' for text in texts)}</ul>",
        markdown="\n".join(f"- {escape_markdown(text)}" for text in texts),
        parts=["\n".join(f"- {_escape_plain(text)}" for text in texts)],
    )


def callout(tone: Tone, heading: str, *parts: Block) -> Block:
    """Return a box with a heading, marked by colour, border and a sign.

    >>> print(callout(Tone.GOOD, "Ship", paragraph("It works.")).plain)
    [✓] Ship
    It works.
    """
    body, title = stack(*parts), escape_html(heading)
    first, *rest = body.parts or ("",)
    head = f"{'' if tone is Tone.NEUTRAL else f'[{_MARKS[tone]}] '}{_escape_plain(heading)}"
    quoted = "\n".join(
        f"> {line}".rstrip() for line in f"**{escape_markdown(heading)}**\n\n{body.markdown}".split("\n")
    )
    sign = "" if tone is Tone.NEUTRAL else f'<span class="mark" aria-hidden="true">{_MARKS[tone]}</span>'
    return Block(
        html=(
            f'<section class="callout {tone.value}" aria-label="{title}"><p class="headline">{sign}{title}</p>'
            f"{body.html}</section>"
        ),
        markdown=quoted,
        parts=[f"{head}\n{first}", *rest] if isinstance(first, str) else [head, first, *rest],
    )


def tiles(items: Sequence[tuple[str, str, str]]) -> Block:
    """Return a row of large numbers: label, value, and a line of context for each.

    >>> tiles([("Change", "−5.0 %", "95 % interval")]).plain
    'Change: −5.0 %, 95 % interval'
    """
    cards = "".join(
        f"<div><dt>{escape_html(label)}</dt><dd><b>{escape_html(value)}</b>"
        f"{f'<span>{escape_html(context)}</span>' if context else ''}</dd></div>"
        for label, value, context in items
    )
    lines = [(label, value, f", {context}" if context else "") for label, value, context in items]
    return Block(
        html=f'<dl class="tiles">{cards}</dl>',
        markdown="\n".join(
            f"- {escape_markdown(label)}: **{escape_markdown(value)}**{escape_markdown(context)}"
            for label, value, context in lines
        ),
        parts=["\n".join(_escape_plain(f"{label}: {value}{context}") for label, value, context in lines)],
    )


def facts(items: Iterable[tuple[str, str]]) -> Block:
    """Return terms with their values; an empty value is left out.

    >>> facts([("Window", "a week"), ("Planned", "")]).plain
    'Window: a week'
    """
    pairs = [(name, value) for name, value in items if value]
    rows = "".join(f'<dt>{escape_html(name)}</dt><dd dir="auto">{escape_html(value)}</dd>' for name, value in pairs)
    return Block(
        html=f'<dl class="facts">{rows}</dl>',
        markdown="\n".join(f"- **{escape_markdown(name)}**: {escape_markdown(value)}" for name, value in pairs),
        parts=["\n".join(f"{_escape_plain(name)}: {_escape_plain(value)}" for name, value in pairs)],
    )


def table(
    columns: Sequence[str], rows: Sequence[Sequence[_Cell]], *, caption: str = "", numeric: Collection[int] = ()
) -> Block:
    """Return a table; the first column heads its rows.

    On a phone each row becomes a small card, so that nothing scrolls sideways.

    Args:
        columns: The heading of each column.
        rows: The cells of each row.
        caption: One line above the table.
        numeric: Places of the columns that align right.

    >>> print(table(["metric", "change"], [("cost", "−5.0 %")], numeric=(1,)).plain)
    metric  change
    cost    −5.0 %
    """
    texts = [[_cell_text(cell) for cell in row] for row in (columns, *rows)]
    head, *lines = [[escape_markdown(text) for text in row] for row in texts]
    rule = ["---:" if place in numeric else "---" for place in range(len(columns))]
    above = [f"**{escape_markdown(caption)}**", ""] if caption else []
    return Block(
        html=_table_html(columns, rows, caption, numeric),
        markdown="\n".join([*above, *(f"| {' | '.join(line)} |" for line in (head, rule, *lines))]),
        parts=[_Rows(_escape_plain(caption), [[*map(_escape_plain, row)] for row in texts], numeric)],
    )


def figure(chart: Figure, caption: str) -> Block:
    """Return a chart with its caption; readers of Markdown and of plain text get its content in words.

    >>> figure(Figure(wide="<svg/>", narrow="<svg/>", alt="It fell."), "Cost.").plain
    'Cost. It fell.'
    """
    return Block(
        html=(
            f'<figure><div class="chart" role="img" aria-label="{escape_html(chart.alt)}">'
            f'<div class="wide">{chart.wide}</div><div class="narrow" hidden>{chart.narrow}</div></div>'
            f"<figcaption>{escape_html(caption)}</figcaption></figure>"
        ),
        markdown=f"*{escape_markdown(caption)}* {escape_markdown(chart.alt)}",
        parts=[f"{_escape_plain(caption)} {_escape_plain(chart.alt)}"],
    )


def _line(text: str, *, code: bool) -> Block:
    if not code:
        return Block(html=_words_html(text), markdown=escape_markdown(text), parts=[_escape_plain(text)])
    pieces = [(place % 2 == 1, piece) for place, piece in enumerate(text.split("`")) if piece]
    return Block(
        html="".join(f"<code>{escape_html(text)}</code>" if is_code else _words_html(text) for is_code, text in pieces),
        # escape_markdown takes its text for a whole line: it trims, and escapes what would open a list
        markdown="".join(
            f"`{clean(text)}`" if is_code else escape_markdown(f"x{text}x")[1:-1] for is_code, text in pieces
        ),
        parts=["".join(_escape_plain(text) for _, text in pieces)],
    )


def _words_html(text: str) -> str:
    return _UNBROKEN.sub(r'<span style="white-space:nowrap">\g<0></span>', escape_html(text))


def _cell_text(cell: _Cell) -> str:
    if isinstance(cell, Mark):
        return f"{_MARKS[cell.tone]} {cell.text}"
    return cell if isinstance(cell, str) else cell.text


def _cell_html(cell: _Cell) -> str:
    if isinstance(cell, str):
        return escape_html(cell)
    if isinstance(cell, Link):
        return f'<a href="{escape_html(cell.address)}">{escape_html(cell.text)}</a>'
    sign = f'<span class="mark" aria-hidden="true">{_MARKS[cell.tone]}</span>'
    return f'<span class="state {cell.tone.value}">{sign}{escape_html(cell.text)}</span>'


def _table_html(columns: Sequence[str], rows: Sequence[Sequence[_Cell]], caption: str, numeric: Collection[int]) -> str:
    names = [escape_html(name) for name in columns]
    head = "".join(
        f'<th scope="col" style="text-align:{"right" if place in numeric else "left"};overflow-wrap:normal">{name}</th>'
        for place, name in enumerate(names)
    )
    body = "".join(f"<tr>{_row_html(names, row, numeric)}</tr>" for row in rows)
    above = f'<caption style="text-align:left">{escape_html(caption)}</caption>' if caption else ""
    return f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_NUMBER = ' class="num"'
"""Notebooks align numbers right by themselves, and pages by the class, which keeps each on one line."""


def _row_html(names: Sequence[str], row: Sequence[_Cell], numeric: Collection[int]) -> str:
    kinds = [_NUMBER if place in numeric else _room(_cell_text(cell)) for place, cell in enumerate(row)]
    head = f'<th scope="row" dir="auto"{kinds[0]}>{_cell_html(row[0])}</th>'
    cells = zip(kinds[1:], names[1:], row[1:], strict=True)
    return head + "".join(f'<td{kind} data-label="{name}">{_cell_html(cell)}</td>' for kind, name, cell in cells)


def _room(text: str) -> str:
    """Return the style of a cell of text: a short one is not broken, a long one is not squeezed."""
    is_whole = len(text) <= (_WHOLE if set(text) & set(" -/") else _WHOLE_WORD)
    return f' style="text-align:left;{"min-width:0;white-space:nowrap" if is_whole else "min-width:6.5em"}"'
