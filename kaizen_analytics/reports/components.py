"""The parts of a report. Each is a `Block`: the same content as HTML, as Markdown and as plain text.

A notebook cell that ends in a block shows it; the exports pick the form that they need. Every text that goes into a
block is escaped here, so that no caller has to remember it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.display import TRUSTED
from kaizen_analytics.text import escape_html, escape_markdown, escape_plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DATA_MIME = "application/vnd.kaizen.report+json"
"""The machine-readable content of a report, from which `report.json` is made."""


class Tone(StrEnum):
    """What a box or a mark says at a glance; never by colour alone."""

    GOOD = "good"
    BAD = "bad"
    UNCLEAR = "unclear"
    NEUTRAL = "neutral"


MARKS = {Tone.GOOD: "\u2713", Tone.BAD: "\u2717", Tone.UNCLEAR: "?", Tone.NEUTRAL: "\u2013"}
_NUMBER = "num"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A piece of a report in three forms, already escaped; `data` is what `report.json` holds."""

    html: str
    markdown: str
    plain: str
    data: Mapping[str, Any] | None = None

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


Cell = str | Mark


def stack(*blocks: Block) -> Block:
    """Return blocks one below the other."""
    return Block(
        html="\n".join(block.html for block in blocks if block.html),
        markdown="\n\n".join(block.markdown for block in blocks if block.markdown),
        plain="\n\n".join(block.plain for block in blocks if block.plain),
    )


def nothing() -> Block:
    """Return an empty block."""
    return Block(html="", markdown="", plain="")


def title(text: str, subtitle: str) -> Block:
    """Return the heading of the page."""
    return Block(
        html=f'<header><p class="eyebrow">{escape_html(subtitle)}</p><h1 dir="auto">{escape_html(text)}</h1></header>',
        markdown=f"# {escape_markdown(text)}\n\n{escape_markdown(subtitle)}",
        plain=f"{escape_plain(text)}\n{escape_plain(subtitle)}",
    )


def subheading(text: str) -> Block:
    """Return a heading inside a section."""
    return Block(
        html=f"<h3>{escape_html(text)}</h3>", markdown=f"### {escape_markdown(text)}", plain=escape_plain(text)
    )


def paragraph(text: str, *, label: str | None = None, quiet: bool = False) -> Block:
    """Return one paragraph, with a bold `label` in front if there is one."""
    head = "" if label is None else f"<strong>{escape_html(label)}</strong> "
    kind = ' class="quiet"' if quiet else ""
    bold = "" if label is None else f"**{escape_markdown(label)}** "
    return Block(
        html=f'<p{kind} dir="auto">{head}{escape_html(text)}</p>',
        markdown=f"{bold}{escape_markdown(text)}",
        plain=f"{'' if label is None else f'{escape_plain(label)} '}{escape_plain(text)}",
    )


def bullets(items: Iterable[str]) -> Block:
    """Return a list of sentences."""
    texts = list(items)
    return Block(
        html=f"<ul>{''.join(f'<li>{escape_html(text)}</li>' for text in texts)}</ul>",
        markdown="\n".join(f"- {escape_markdown(text)}" for text in texts),
        plain="\n".join(f"- {escape_plain(text)}" for text in texts),
    )


def callout(tone: Tone, heading: str, *parts: Block) -> Block:
    """Return a box with a heading, marked by colour, border and a sign."""
    body = stack(*parts)
    quoted = "\n".join(
        f"> {line}".rstrip() for line in f"**{escape_markdown(heading)}**\n\n{body.markdown}".split("\n")
    )
    return Block(
        html=(
            f'<section class="callout {tone.value}" aria-label="Decision"><p class="headline">'
            f'<span class="mark" aria-hidden="true">{MARKS[tone]}</span>{escape_html(heading)}</p>{body.html}</section>'
        ),
        markdown=quoted,
        plain=f"[{MARKS[tone]}] {escape_plain(heading)}\n{body.plain}",
    )


def tiles(items: Sequence[tuple[str, str, str]]) -> Block:
    """Return a row of large numbers: label, value, and a line of context for each."""
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
        plain="\n".join(escape_plain(f"{label}: {value}{context}") for label, value, context in lines),
    )


def facts(items: Iterable[tuple[str, str]]) -> Block:
    """Return terms with their values; an empty value is left out."""
    pairs = [(name, value) for name, value in items if value]
    rows = "".join(f'<dt>{escape_html(name)}</dt><dd dir="auto">{escape_html(value)}</dd>' for name, value in pairs)
    return Block(
        html=f'<dl class="facts">{rows}</dl>',
        markdown="\n".join(f"- **{escape_markdown(name)}**: {escape_markdown(value)}" for name, value in pairs),
        plain="\n".join(f"{escape_plain(name)}: {escape_plain(value)}" for name, value in pairs),
    )


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, caption: str, numeric: Sequence[int] = ()
) -> Block:
    """Return a table; the first column heads its rows, those in `numeric` align right.

    On a phone each row becomes a small card, so that nothing scrolls sideways.
    """
    return Block(
        html=_table_html(columns, rows, caption, frozenset(numeric)),
        markdown=_table_markdown(columns, rows, caption, frozenset(numeric)),
        plain=_table_plain(columns, rows, caption),
    )


def figure(chart: Figure, caption: str) -> Block:
    """Return a chart with its caption; readers of Markdown and of plain text get its content in words."""
    return Block(
        html=(
            f'<figure><div class="chart" role="img" aria-label="{escape_html(chart.alt)}">'
            f'<div class="wide">{chart.wide}</div><div class="narrow" hidden>{chart.narrow}</div></div>'
            f"<figcaption>{escape_html(caption)}</figcaption></figure>"
        ),
        markdown=f"*{escape_markdown(caption)}* {escape_markdown(chart.alt)}",
        plain=f"{escape_plain(caption)} {escape_plain(chart.alt)}",
    )


def data(document: Mapping[str, Any]) -> Block:
    """Return the machine-readable content of the report; it shows nothing on the page."""
    return Block(html="", markdown="", plain="", data=document)


def _cell_text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else f"{MARKS[cell.tone]} {cell.text}"


def _cell_html(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape_html(cell)
    sign = f'<span class="mark" aria-hidden="true">{MARKS[cell.tone]}</span>'
    return f'<span class="state {cell.tone.value}">{sign}{escape_html(cell.text)}</span>'


def _table_html(columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str, numeric: frozenset[int]) -> str:
    kinds = [f' class="{_NUMBER}"' if index in numeric else "" for index in range(len(columns))]
    names = [escape_html(name) for name in columns]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for name, kind in zip(names, kinds, strict=True))
    body = "".join(
        "<tr>"
        f'<th scope="row" dir="auto">{_cell_html(row[0])}</th>'
        + "".join(
            f'<td{kinds[index]} data-label="{names[index]}">{_cell_html(row[index])}</td>'
            for index in range(1, len(row))
        )
        + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{escape_html(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _table_markdown(
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    caption: str,
    numeric: frozenset[int],
) -> str:
    rule = ["---:" if index in numeric else "---" for index in range(len(columns))]
    lines = [[escape_markdown(name) for name in columns], rule]
    lines += [[escape_markdown(_cell_text(cell)) for cell in row] for row in rows]
    return "\n".join([f"{escape_markdown(caption)}:", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _table_plain(columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> str:
    lines = [[escape_plain(_cell_text(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([escape_plain(caption), *padded])
