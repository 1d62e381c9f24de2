"""The figures of docs/reference/benchmarks.md: every target with its peer, measured in the same run.

    python -m benchmarks              a quarter of an hour on two quiet cores; writes docs/reference/benchmarks.md
    python -m benchmarks --only ingestion     the same for one section; the others stay as they are
    python -m benchmarks --quick      a minute with small sizes; prints the tables and writes nothing

Stores are generated once into build/bench and used again. A peer that is not installed is left out and named.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import ingestion, outcomes, session_metrics, starts, statistics_speed
from benchmarks.measure import ROOT
from benchmarks.tables import Section, render_section

if TYPE_CHECKING:
    from types import ModuleType

OUTPUT = ROOT / "docs" / "reference" / "benchmarks.md"
FOLDER = ROOT / "build" / "bench"
_ROOMS = (session_metrics, ingestion, outcomes, statistics_speed, starts)
_LIBRARIES = ("duckdb", "polars", "numpy", "scipy", "pyarrow", "orjson")


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against peers.")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions; writes nothing")
    names = {room.__name__.rpartition(".")[2]: room for room in _ROOMS}
    parser.add_argument("--only", choices=names, help="measure one section")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where generated stores lie")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    rooms = [names[options.only]] if options.only else _ROOMS
    sections = [_measure(room, folder, quick=options.quick) for room in rooms]
    former = options.output.read_text("utf-8") if options.only and not options.quick else ""
    page = render_page([render_section(section) for section in sections], former)
    if options.quick:
        print(page)
    else:
        options.output.write_text(page, "utf-8")
        print(f"Wrote {options.output}")
    shutil.rmtree(folder / "cache", ignore_errors=True)


def _measure(room: ModuleType, folder: Path, *, quick: bool) -> Section:
    """Run one room and note when it ran, for how long, and how busy the machine was."""
    started, load = time.monotonic(), os.getloadavg()[0]
    section: Section = room.run(folder, quick=quick)
    minutes = (time.monotonic() - started) / 60
    section.add_text(
        f"Measured on {datetime.now(UTC):%Y-%m-%d} in {minutes:.0f} minutes; the load was {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after."
    )
    return section


def render_page(sections: list[str], former: str = "") -> str:
    """Return the whole page; what a former page says under other headings stays."""
    parts = {part.partition("\n")[0]: f"## {part.strip()}" for part in former.split("\n## ")[1:]}
    parts |= {section.removeprefix("## ").partition("\n")[0]: section for section in sections}
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    machine = f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.machine()}"
    body = "\n\n".join(parts.values())
    return f"""# Benchmarks

Written by `make bench`; do not edit. Ratios carry over to other machines, seconds do not. Every figure is the median of
the runs that its table names; CPU is user and system time of all threads, peak memory that of the whole process. Equal
digests mean equal answers, digit for digit. A section says when it was measured; one without a date is older.

Machine: {machine}; Python {platform.python_version()}, {libraries}.

{body}
"""


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


if __name__ == "__main__":
    sys.exit(main())
