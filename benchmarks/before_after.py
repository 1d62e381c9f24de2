"""How often a before/after comparison claims a difference, with and without one, in the worlds of `worlds`.

    python -m benchmarks.before_after --repetitions 400 --out build/before-after.json

Every cell has its own seed, so a run can be stopped and continued: cells that the file holds are not drawn again.
`bench_stats` reads the file and writes the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.worlds import WORLDS, draw_world
from kaizen_analytics.experiments.decide import Claim, judge_claim
from kaizen_analytics.stats.before_after import compare_before_after

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Report(Protocol):
        """Where tables and missed targets go."""

        def table(self, title: str, text: str, head: list[str], rows: list[list[str]]) -> None: ...

        def require(self, met: bool, target: str) -> str: ...  # noqa: FBT001


OUTPUT = Path("build/before-after.json")
_SEED = 2041
_WEEK = 7
_TARGET, _LIMIT = 5.0, 7.0
"""Percent of false claims that is promised, and that the upper end of its Monte Carlo interval may reach."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One world and one size: days after the change, sessions a day, weeks of history, and the true effect."""

    world: str
    after: int
    per_day: int
    effect: float = 0.0
    weeks: int = 8

    @property
    def key(self) -> str:
        """The cell as text."""
        return f"{self.world}|{self.after}|{self.per_day}|{self.effect:g}|{self.weeks}"


SIZES = [(after, per_day) for after in (14, 28, 56) for per_day in (10, 50, 200)]
NULL_CELLS = [Cell(world, *size) for world in WORLDS for size in SIZES]
POWER_CELLS = [
    Cell("calm", 28, 50, -0.3),
    Cell("calm", 28, 50, -0.2),
    Cell("calm", 28, 10, -0.3),
    Cell("weekly mix 0.2", 28, 50, -0.3),
    Cell("days 0.3", 28, 50, -0.3),
    Cell("two peaks", 28, 50, -0.3),
]


def count_claims(cell: Cell, repetitions: int) -> dict[str, int]:
    """Return how often each claim was made, lower and higher apart."""
    size = [cell.weeks, cell.after, cell.per_day, round(-100 * cell.effect) % 1000]
    rng = np.random.default_rng([_SEED, list(WORLDS).index(cell.world), *size])
    counts: dict[str, int] = {}
    for _ in range(repetitions):
        line = draw_world(
            rng,
            WORLDS[cell.world],
            history=_WEEK * cell.weeks,
            after=cell.after,
            per_day=cell.per_day,
            effect=cell.effect,
        )
        found = compare_before_after(line, by_median=True)
        name = judge_claim(found).value
        if name == Claim.HOLDS and found.effect is not None:
            name = "lower" if found.effect.log_ratio < 0 else "higher"
        counts[name] = counts.get(name, 0) + 1
    return counts


def run(
    repetitions: int, path: Path | None, *, cells: Sequence[Cell] = (), say: Callable[[str], None] = print
) -> dict[str, dict[str, int]]:
    """Draw every cell that the file lacks and return all of them; the file is written after each.

    Args:
        repetitions: Histories of each cell.
        path: What an earlier run drew; None keeps nothing.
        cells: What to draw; all cells if empty.
        say: Where progress goes.
    """
    known = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
    wanted = [*cells] or [*NULL_CELLS, *POWER_CELLS]
    for number, cell in enumerate(wanted, start=1):
        if sum(known.get(cell.key, {}).values()) >= repetitions:
            continue
        began = time.monotonic()
        known[cell.key] = count_claims(cell, repetitions)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known, indent=1), encoding="utf-8")
        say(f"{number}/{len(wanted)} {cell.key}: {known[cell.key]} ({time.monotonic() - began:.0f} s)")
    return known


def write_before_after(report: Report, known: dict[str, dict[str, int]]) -> None:
    """Add the tables of false claims and of power, with the Monte Carlo error of each rate."""
    repetitions = sum(next(iter(known.values())).values())
    sizes = [f"{after} d x {per_day}" for after, per_day in SIZES]
    report.table(
        "Claims before and after a change, without an effect",
        f"Share of {repetitions} histories in which a difference is claimed, in percent, with one Monte Carlo standard "
        "error; every claim is false. Columns are the days after the change and the sessions a day; the history has 8 "
        "weeks. Target, in each cell: at most 5 %, and at most 7 % at the upper end of its 95 % Monte Carlo interval.",
        ["world", *sizes, "all sizes", "target met"],
        [_world_row(report, known, world) for world in WORLDS],
    )
    report.table(
        "Claims before and after a change, with an effect",
        "Share of histories in which a difference of the right sign is claimed. There is no target: arms drawn by "
        "lot have more power.",
        ["world", "effect", "days after", "sessions a day", "claimed"],
        [
            [cell.world, f"{100 * cell.effect:.0f} %", f"{cell.after}", f"{cell.per_day}", _rate(known, cell)]
            for cell in POWER_CELLS
        ],
    )


def _world_row(report: Report, known: dict[str, dict[str, int]], world: str) -> list[str]:
    cells = [Cell(world, *size) for size in SIZES]
    found = [_claimed(known, cell) for cell in cells if cell.key in known]
    claimed, n = (sum(column) for column in zip(*found, strict=True)) if found else (0, 0)
    if not n:
        return [world, *["not run"] * (len(cells) + 1), "not run"]
    share, error = compute_share(claimed, n)
    met = all(_holds(*pair) for pair in found)
    together = f"{share:.1f} ± {error:.1f}"
    return [world, *(_rate(known, cell) for cell in cells), together, report.require(met, f"false claims, {world}")]


def _holds(claimed: int, n: int) -> bool:
    share, error = compute_share(claimed, n)
    return share <= _TARGET and share + 1.96 * error <= _LIMIT


def compute_share(found: float, n: float) -> tuple[float, float]:
    """Return a share in percent with its Monte Carlo standard error; that of none or of all is that of one."""
    return 100 * found / n, 100 * math.sqrt(max(found * (n - found), n - 1) / n**3)


def _claimed(known: dict[str, dict[str, int]], cell: Cell) -> tuple[int, int]:
    counts = known[cell.key]
    wanted = ("lower",) if cell.effect < 0 else ("lower", "higher")
    return sum(counts.get(name, 0) for name in wanted), sum(counts.values())


def _rate(known: dict[str, dict[str, int]], cell: Cell) -> str:
    if cell.key not in known:
        return "not run"
    share, error = compute_share(*_claimed(known, cell))
    return f"{share:.1f} ± {error:.1f}"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--out", type=Path, default=OUTPUT)
    given = parser.parse_args()
    run(given.repetitions, given.out)


if __name__ == "__main__":
    _main()
