"""What a result shows in a notebook: one small table with its sentences, as HTML, as Markdown and as plain text.

The HTML has no script, loads nothing and names no colour, so it takes those of the page, light or dark. Everything that
goes into it is escaped here.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.text import clean, escape_html, escape_markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TRUSTED = "kaizen"
"""Key of the output metadata that marks HTML as escaped by this package."""

_WIDTH, _HEIGHT = 160, 16
_WHOLE, _WHOLE_WORD = 13, 26
"""A text of up to so many characters is not broken: a date, the name of an agent, the beginning of a session's id; and
one without a place to break, such as the name of a metric."""
_PERCENT = re.compile(r"(?<=\d) %")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """An interval to draw beside its row; an infinite end is drawn to the edge."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table with a caption above it, unless it is empty, and sentences below.

    `bars`, if there are any, has one entry for each row: its interval, on one axis for all rows with a dashed line at
    0. They repeat numbers of their row, so only HTML shows them.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    bars: tuple[Bar | None, ...] = ()
    sentences: tuple[str, ...] = ()

    def html(self) -> str:
        """Return the table for a notebook."""
        sides = ["right" if place in self.numeric else "left" for place in range(len(self.columns))]
        names = "".join(
            f'<th style="text-align:{side};overflow-wrap:normal">{escape_html(name).replace(" %", "&nbsp;%")}</th>'
            for side, name in zip(sides, self.columns, strict=True)
        )
        drawn = _draw_bars(self.bars)
        head = f"<tr>{names}{'<th></th>' if any(drawn) else ''}</tr>"
        body = "".join(
            f"<tr>{self._cells(row)}{f'<td>{drawn[place]}</td>' if any(drawn) else ''}</tr>"
            for place, row in enumerate(self.rows)
        )
        # not a caption element: one would be no wider than the table
        caption = f"<p><b>{escape_html(self.caption)}</b></p>" if self.caption else ""
        below = "".join(f"<p>{_PERCENT.sub('&nbsp;%', escape_html(sentence))}</p>" for sentence in self.sentences)
        return f"{caption}<table><thead>{head}</thead><tbody>{body}</tbody></table>{below}"

    def markdown(self) -> str:
        """Return the table as GitHub's Markdown."""
        rule = ["---:" if place in self.numeric else "---" for place in range(len(self.columns))]
        lines = [[escape_markdown(name) for name in self.columns], rule]
        lines += [[escape_markdown(cell) for cell in row] for row in self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        caption = [f"**{escape_markdown(self.caption)}**"] if self.caption else []
        return "\n\n".join([*caption, table, *(escape_markdown(text) for text in self.sentences)])

    def plain(self) -> str:
        """Return the table for a terminal."""
        lines = [[clean(cell) for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        table = [self._plain_line(line, widths) for line in lines]
        caption = [clean(self.caption)] if self.caption else []
        return "\n".join([*caption, *table, *(clean(sentence) for sentence in self.sentences)])

    def _plain_line(self, line: Sequence[str], widths: Sequence[int]) -> str:
        padded = [
            cell.rjust(width) if place in self.numeric else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    def _cells(self, row: Sequence[str]) -> str:
        head, *rest = (escape_html(cell) for cell in row)
        labels = [escape_html(name) for name in self.columns]
        cells = [
            f'<td{self._align(place, row[place])} data-label="{labels[place]}">{cell}</td>'
            for place, cell in enumerate(rest, 1)
        ]
        return "".join([f"<th{self._align(0, row[0])}>{head}</th>", *cells])

    def _align(self, place: int, cell: str) -> str:
        # numbers stand right in a notebook anyway, and in a report by their class; long texts must not be squeezed
        if place in self.numeric:
            return ' class="num"'
        room = "min-width:0;white-space:nowrap" if _is_whole(cell) else "min-width:6.5em"
        return f' style="text-align:left;{room}"'


class Displayed:
    """Shows itself as the table that `_table` returns: in a notebook, in Markdown and when it is printed."""

    __slots__ = ()

    def _table(self) -> Table:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self._table().html()

    def _repr_markdown_(self) -> str:
        return self._table().markdown()

    def _repr_mimebundle_(self, **options: object) -> tuple[dict[str, Any], dict[str, Any]]:  # noqa: ARG002
        table = self._table()
        bundle = {"text/html": table.html(), "text/markdown": table.markdown(), "text/plain": str(self)}
        return bundle, {TRUSTED: True}

    def __str__(self) -> str:
        """Return the table as plain text."""
        return self._table().plain()


def _is_whole(cell: str) -> bool:
    return len(cell) <= (_WHOLE if set(cell) & set(" -/") else _WHOLE_WORD)


def _draw_bars(bars: Sequence[Bar | None]) -> list[str]:
    """Return one drawing for each bar, all on one axis that holds 0."""
    known = [bar for bar in bars if bar is not None]
    ends = [*_finite(value for bar in known for value in (bar.low, bar.estimate, bar.high)), 0.0]
    low, high = max(min(ends), -100.0), min(max(ends), 100.0)
    margin = 0.05 * (high - low) or 1.0
    return ["" if bar is None else _draw_bar(bar, low - margin, high + margin) for bar in bars]


def _draw_bar(bar: Bar, low: float, high: float) -> str:
    def place(value: float) -> str:
        share = (min(max(value, low), high) - low) / (high - low)
        return f"{share * _WIDTH:.1f}"

    middle = _HEIGHT // 2
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true" stroke="currentColor" fill="currentColor">'
        f'<line x1="{place(0)}" x2="{place(0)}" y1="0" y2="{_HEIGHT}" stroke-dasharray="2 2" opacity="0.6"/>'
        f'<line x1="{place(bar.low)}" x2="{place(bar.high)}" y1="{middle}" y2="{middle}" stroke-width="2"/>'
        f'<circle cx="{place(bar.estimate)}" cy="{middle}" r="3.5" stroke="none"/></svg>'
    )


def _finite(values: Iterable[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]
