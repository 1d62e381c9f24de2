"""Do every fault on purpose and write what became of the data into docs/faults.md.

    python tests/faults/run_faults.py [--short] [--only NAME] [--seed N] [--json]

Exits with 1 if anything was lost, doubled or damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads in the process that is forked

import fault_recipes as recipes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fault_recipes import Tally

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
FIRST_SEED = 20261123


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of the table: what happens, how, how often in a short and in a full run, and the tools it needs."""

    name: str
    fault: str
    how: str
    run: Callable[[Path, random.Random, int], Tally]
    short: int
    full: int
    tools: tuple[str, ...] = ()


RECIPES = (
    Recipe(
        "kill-tag", "SIGKILL while tagging", "up to 250 ms after the first acknowledged tag", recipes.kill_tag, 3, 60
    ),
    Recipe(
        "kill-ingest", "SIGKILL during ingest", "at any time of a run, three new files each", recipes.kill_ingest, 2, 20
    ),
    Recipe(
        "kill-conclude", "SIGKILL during conclude", "at any time; then concluded again", recipes.kill_conclude, 2, 15
    ),
    Recipe(
        "kill-report",
        "SIGKILL while a report is made",
        "at any time; the former report must stay",
        recipes.kill_report,
        2,
        15,
    ),
    Recipe("kill-export", "SIGKILL during export", "up to 100 ms after the first file", recipes.kill_export, 3, 60),
    Recipe("full-disk", "full disk", "a tmpfs with 100 to 1,200 KiB left", recipes.full_disk, 1, 6, ("mount",)),
    Recipe("file-limit", "RLIMIT_FSIZE", "20 to 400 kB above the size of the store", recipes.file_limit, 1, 6),
    Recipe("io-error", "EIO", "libfiu: 0.2 to 1 % of all writes fail", recipes.input_output_error, 1, 4, ("fiu-run",)),
    Recipe(
        "read-only", "read-only file system", "a tmpfs remounted after a kill", recipes.read_only_disk, 1, 8, ("mount",)
    ),
    Recipe(
        "clock",
        "clock jumps",
        "libfaketime: up to 11 years back and forth, every 20 ms",
        recipes.clock_jumps,
        1,
        3,
        ("faketime",),
    ),
    Recipe(
        "eight-writers",
        "8 processes, 100 writes each",
        "in random order, and one write that is the same for all",
        recipes.eight_writers,
        1,
        2,
    ),
    Recipe(
        "foreign-lock",
        "another program holds the lock",
        "for 1 to 3 s, with a write of its own",
        recipes.foreign_lock,
        1,
        5,
    ),
    Recipe(
        "torn-line", "a torn last line", "an agent writes in 300 pieces while it is ingested", recipes.torn_line, 1, 3
    ),
)


def missing_tools(recipe: Recipe) -> list[str]:
    """Return what this machine lacks for a recipe."""
    lacks = [tool for tool in recipe.tools if shutil.which(tool) is None]
    if "mount" in recipe.tools and not lacks and not can_mount():
        lacks.append("the right to mount")
    return lacks


def can_mount() -> bool:
    """Whether this account may mount a file system in memory."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0


def main() -> int:
    """Run the recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few repetitions, and the page is not written")
    parser.add_argument("--only", choices=[recipe.name for recipe in RECIPES], help="one recipe, and no page")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(*options.worker)
    chosen = [recipe for recipe in RECIPES if options.only in (None, recipe.name)]
    rows = [measure(recipe, options.seed, short=options.short) for recipe in chosen]
    if options.json:
        print(json.dumps(rows))
    elif not options.short and options.only is None:
        PAGE.write_text(render_page(rows, options.seed), encoding="utf-8")
    return 0 if all(row["good"] for row in rows) else 1


def work(kind: str, path: str, log: str, count: str) -> int:
    """Be a worker in a process of its own, for faults that come with the process."""
    workers = {"stubborn": recipes.tag_stubbornly, "clock": recipes.tag_watching_the_clock}
    recipes.write_surely(sys.stdout.fileno(), f"{workers[kind](Path(path), recipes.Log(Path(log)), int(count))}\n")
    return 0


def measure(recipe: Recipe, seed: int, *, short: bool) -> dict[str, object]:
    """Run one recipe and return its row."""
    lacks = missing_tools(recipe)
    row: dict[str, object] = {"name": recipe.name, "fault": recipe.fault, "how": recipe.how, "lacks": lacks}
    if lacks:
        return {**row, "good": True}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kaizen-faults-") as folder:
        tally = recipe.run(Path(folder), random.Random(f"{seed}-{recipe.name}"), recipe.short if short else recipe.full)
    print(f"{recipe.name}: {time.monotonic() - begin:.1f} s, {tally}", file=sys.stderr, flush=True)
    return {**row, **asdict(tally), "good": tally.good}


def render_page(rows: list[dict[str, object]], seed: int) -> str:
    """Return docs/faults.md."""
    head = ["fault", "recipe", "runs", "struck", "acknowledged", "lost", "doubled", "file whole, nothing stray"]
    lines = ["# Faults", "", f"Written by `make test-faults` ({platform.system()}, seed {seed}).", ""]
    lines += [_line(head), _line(["---", "---", "---:", "---:", "---:", "---:", "---:", "---"])]
    for row in rows:
        if row["lacks"]:
            lines.append(_line([row["fault"], row["how"], f"not run here: needs {', '.join(row['lacks'])}", *"     "]))
            continue
        whole = "yes" if not row["damaged"] else "; ".join(row["damaged"])
        numbers = [f"{row[name]:,}" for name in ("runs", "struck", "acknowledged", "lost", "doubled")]
        lines.append(_line([row["fault"], row["how"], *numbers, whole]))
    return "\n".join([*lines, "", _NOTES])


def _line(cells: list[object]) -> str:
    return f"| {' | '.join(str(cell).strip() for cell in cells)} |"


_NOTES = """\
*Struck*: how often the fault met work going on: processes that were killed before they were done, writes that were
refused, calls that failed, a clock that went backwards, reads that began at a torn line. *Acknowledged*: ids that a
worker was told are stored, from an append-only log on a healthy disk. *Lost*: acknowledged ids that the store (for
reports: the folder with its checksums) does not hold afterwards. *Doubled*: what stands there more often than once; for
ingest, every row that one ingest of the finished transcripts would not have written.

After each fault the work is taken up again without it and must succeed; `pragma integrity_check` is asked by another
SQLite library. The recipes are in `tests/faults/fault_recipes.py`; `python tests/faults/run_faults.py --only NAME`
repeats one, with `--seed N` at other points.
"""

if __name__ == "__main__":
    raise SystemExit(main())
