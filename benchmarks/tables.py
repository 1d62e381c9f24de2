"""Results as Markdown: tables of what was measured, and targets that were met or missed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BEGIN, _END = "<!-- begin figures -->", "<!-- end figures -->"


@dataclass(frozen=True, slots=True)
class Target:
    """What was promised, what came out, and whether that is good enough."""

    name: str
    promised: str
    measured: str
    met: bool


@dataclass(slots=True)
class Section:
    """One heading with its tables and targets, in the order in which they were added."""

    title: str
    blocks: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append(text)

    def add_table(self, columns: list[str], rows: list[list[str]]) -> None:
        """Add a table; the first column is text, the others are figures."""
        self.blocks.append(render_table(columns, rows))

    def add_target(self, name: str, promised: str, measured: str, *, met: bool) -> None:
        """Add a row to the section's table of targets."""
        self.targets.append(Target(name, promised, measured, met))


def render_table(columns: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    rule = ["---", *("---:" for _ in columns[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def render_section(section: Section) -> str:
    """Return one section: its targets, then what was measured."""
    rows = [
        [target.name, target.promised, target.measured, "met" if target.met else "**missed**"]
        for target in section.targets
    ]
    targets = [render_table(["target", "promised", "measured", ""], rows)] if rows else []
    return "\n\n".join([f"## {section.title}", *targets, *section.blocks])


def render_sections(sections: list[Section]) -> str:
    """Return all sections."""
    return "\n\n".join(map(render_section, sections))


def write_figures(page: Path, figures: str) -> None:
    """Put figures between the markers of a page and print them."""
    before, _, rest = page.read_text("utf-8").partition(_BEGIN)
    page.write_text(f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{rest.partition(_END)[2]}", "utf-8")
    print(figures)


def seconds(value: float) -> str:
    """Return a time with three significant digits."""
    return f"{value:.3f} s" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def times(value: float) -> str:
    """Return a ratio."""
    return f"{value:,.0f}x" if value >= 10 else f"{value:.1f}x"
