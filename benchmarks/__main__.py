"""The figures of docs/benchmarks.md: every target of docs/scale.md with its peer, measured in the same run.

    python -m benchmarks              about a quarter of an hour on two quiet cores; rewrites docs/benchmarks.md
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
from importlib.metadata import version
from pathlib import Path

from benchmarks import ingestion, mirrors, starts, statistics_speed
from benchmarks.measure import ROOT
from benchmarks.tables import Section, render_sections

OUTPUT = ROOT / "docs" / "benchmarks.md"
FOLDER = ROOT / "build" / "bench"
_LIBRARIES = ("duckdb", "polars", "numpy", "scipy", "pyarrow", "orjson")


def main() -> None:
    """Measure everything and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure against peers.")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions; writes nothing")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where generated stores lie")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    started = time.monotonic()
    sections = [room.run(folder, quick=options.quick) for room in (mirrors, ingestion, statistics_speed, starts)]
    page = render_page(sections, duration_s=time.monotonic() - started)
    if options.quick:
        print(page)
    else:
        options.output.write_text(page, "utf-8")
        print(f"Wrote {options.output}")
    shutil.rmtree(folder / "cache", ignore_errors=True)


def render_page(sections: list[Section], *, duration_s: float) -> str:
    """Return the whole page."""
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    machine = f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.machine()}"
    return f"""# Benchmarks

Written by `make bench`; do not edit. Ratios carry over to other machines, seconds do not. Every figure is the median of
the runs that its table names; CPU is user and system time of all threads, peak memory that of the whole process. Equal
digests mean equal answers, digit for digit.

Machine: {machine}; Python {platform.python_version()}, {libraries}.
The run took {duration_s / 60:.0f} minutes; the load at its end was {os.getloadavg()[0]:.1f}.

{render_sections(sections)}
"""


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


if __name__ == "__main__":
    sys.exit(main())
