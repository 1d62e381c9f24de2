"""The table of heuristics in docs/retro.md, written from the headers of sql/retro.

python -m kaizen_analytics.retro.documentation docs/retro.md
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.retro.heuristics import load_heuristics

if TYPE_CHECKING:
    from kaizen_analytics.retro.heuristics import Heuristic

BEGIN = "<!-- begin heuristics: written by python -m kaizen_analytics.retro.documentation -->"
END = "<!-- end heuristics -->"


def render_heuristics() -> str:
    """Return every heuristic as Markdown: an overview table, then each with its thresholds."""
    heuristics = load_heuristics()
    table = [
        "| id | name | fires on | needs | confidence | category | minutes | saving |",
        "|---|---|---|---|---|---|---:|---|",
        *(_row(heuristic) for heuristic in heuristics),
    ]
    thresholds = [
        "| threshold | default | what it means |",
        "|---|---|---|",
        *(line for heuristic in heuristics for line in _threshold_rows(heuristic)),
    ]
    return "\n".join([*table, "", "Thresholds, with their defaults:", "", *thresholds])


def write_heuristics(file: Path) -> None:
    """Replace what stands between the markers of `file`.

    Raises:
        ConfigError: the file lacks a marker.
    """
    text = file.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{file} lacks the line {BEGIN!r} or {END!r}; add both where the table belongs.")
    file.write_text(f"{before}{BEGIN}\n\n{render_heuristics()}\n\n{END}{after}", encoding="utf-8")


def _row(heuristic: Heuristic) -> str:
    cells = (
        heuristic.id,
        heuristic.name,
        heuristic.fires.rstrip("."),
        ", ".join(f"`{need}`" for need in heuristic.needs),
        heuristic.confidence.value,
        heuristic.category.value,
        str(heuristic.effort_minutes),
        f"{heuristic.saving.rstrip('.')} ({heuristic.basis.value})",
    )
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _threshold_rows(heuristic: Heuristic) -> list[str]:
    return [
        f"| {heuristic.id} `{spec.name}` | `{_escape(str(spec.default))}` | {_escape(spec.meaning)} |"
        for spec in heuristic.thresholds.values()
    ]


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    write_heuristics(Path(sys.argv[1]))
