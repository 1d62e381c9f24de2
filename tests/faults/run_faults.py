"""Do every fault on purpose and write what became of the data into docs/reference/faults.md.

    python tests/faults/run_faults.py [--short] [--only NAME] [--seed N] [--json] [--list]

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

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "faults.md"
FIRST_SEED = 20261123


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of the table: what happens, how, how often in a short and in a full run, and the tools it needs."""

    run: Callable[[Path, random.Random, int], Tally]
    fault: str
    how: str
    short: int
    full: int
    tool: str | None = None

    @property
    def name(self) -> str:
        return self.run.__name__.replace("_", "-")


RECIPES = (
    Recipe(recipes.kill_tag, "SIGKILL inside the transaction of a tag", "until it has hit inside 100 times", 2, 100),
    Recipe(recipes.kill_ingest, "SIGKILL inside the transaction of an ingest", "the same, a new file each", 2, 100),
    Recipe(recipes.kill_conclude, "SIGKILL inside the transaction of a conclusion", "from its first write on", 2, 100),
    Recipe(recipes.kill_publish, "SIGKILL while a report is published", "its files written and moved", 2, 100),
    Recipe(recipes.kill_export, "SIGKILL while an exported file is written", "the same", 2, 100),
    Recipe(recipes.kill_report, "SIGKILL while a report is made", "at any time; the former report must stay", 2, 8),
    Recipe(recipes.lost_wal, "a WAL that is gone", "a copy without it; ingested again", 1, 10),
    Recipe(recipes.full_disk, "full disk", "a tmpfs with 100 to 1,200 KiB left", 1, 6, "mount"),
    Recipe(recipes.full_disk_commands, "full disk", "commands that write, with 0 or 96 KiB left", 1, 1, "mount"),
    Recipe(recipes.memory_limit, "too little memory", "RLIMIT_AS up to 6 MiB above an open store; then again", 1, 8),
    Recipe(recipes.file_limit, "RLIMIT_FSIZE", "20 to 400 kB above the size of the store", 1, 6),
    Recipe(recipes.io_error, "EIO on writes", "libfiu: 0.2 to 1 % of all writes fail", 1, 4, "fiu-run"),
    Recipe(recipes.read_error, "EIO on reads", "libfiu: 0.4 to 1 % of all reads fail", 1, 3, "fiu-run"),
    Recipe(recipes.swapped_links, "links put in the place of files and folders", "while they are written", 1, 3),
    Recipe(recipes.read_only, "read-only file system", "a tmpfs remounted after a kill", 1, 8, "mount"),
    Recipe(recipes.clock, "clock jumps", "libfaketime: up to 11 years back and forth, every 20 ms", 1, 3, "faketime"),
    Recipe(recipes.eight_writers, "8 processes, 100 writes each", "in random order, and one write for all", 1, 2),
    Recipe(recipes.foreign_lock, "another program holds the lock", "for 1 to 3 s, with a write of its own", 1, 5),
    Recipe(recipes.torn_line, "a torn last line", "an agent writes in 300 pieces while it is ingested", 1, 3),
)


def missing_tools(recipe: Recipe) -> list[str]:
    """Return what this machine lacks for a recipe."""
    if recipe.tool is None:
        return []
    if shutil.which(recipe.tool) is None:
        return [recipe.tool]
    return ["the right to mount"] if recipe.tool == "mount" and not can_mount() else []


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
    parser.add_argument(
        "--only", choices=[recipe.name for recipe in RECIPES], help="one recipe; renews its row of the page"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the recipes as JSON")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(*options.worker)
    if options.list:
        print(json.dumps([recipe.name for recipe in RECIPES]))
        return 0
    chosen = [recipe for recipe in RECIPES if options.only in (None, recipe.name)]
    rows = [measure(recipe, options.seed, short=options.short) for recipe in chosen]
    if options.json:
        print(json.dumps(rows))
    elif not options.short:
        former = read_rows(PAGE) if options.only else {}
        PAGE.write_text(render_page(rows, former, options.seed), encoding="utf-8")
    return 0 if all(row["good"] for row in rows) else 1


def work(kind: str, path: str, log: str, count: str) -> int:
    """Be a worker in a process of its own, for faults that come with the process."""
    workers = {"clock": recipes.tag_watching_the_clock}
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
    tally.require(held=tally.struck > 0, claim="the fault never struck")
    return {**row, **asdict(tally), "good": tally.good}


def read_rows(page: Path) -> dict[tuple[str, str], str]:
    """Return the rows of the page as they are, by fault and recipe."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return {(cells[1].strip(), cells[2].strip()): line for line in lines if len(cells := line.split("|")) > 8}


def render_page(rows: list[dict[str, object]], former: dict[tuple[str, str], str], seed: int) -> str:
    """Return docs/reference/faults.md; a recipe that did not run keeps its former row."""
    head = ["fault", "recipe", "runs", "struck", "acknowledged", "lost", "doubled", "file whole, nothing stray"]
    lines = ["# Faults", "", f"Written by `make test-faults` ({platform.system()}, seed {seed}).", ""]
    lines += [_line(head), _line(["---", "---", "---:", "---:", "---:", "---:", "---:", "---"])]
    made = {(str(row["fault"]), str(row["how"])): _render_row(row) for row in rows}
    known = former | made
    lines += [known[recipe.fault, recipe.how] for recipe in RECIPES if (recipe.fault, recipe.how) in known]
    return "\n".join([*lines, "", _NOTES])


def _render_row(row: dict[str, object]) -> str:
    if row["lacks"]:
        return _line([row["fault"], row["how"], f"not run here: needs {', '.join(row['lacks'])}", *"     "])
    whole = "yes" if not row["damaged"] else "; ".join(row["damaged"])
    numbers = [f"{row[name]:,}" for name in ("runs", "struck", "acknowledged", "lost", "doubled")]
    return _line([row["fault"], row["how"], *numbers, whole])


def _line(cells: list[object]) -> str:
    return f"| {' | '.join(str(cell).strip() for cell in cells)} |"


_NOTES = """\
*Struck*: how often the fault met work going on. For a kill: processes that died between the first write of their
critical section and its end; a process that died before or after is not counted. Else writes that were refused, calls
that failed, links that were put in place, a clock that went backwards, reads that began at a torn line.
*Acknowledged*: ids that a worker was told are stored, from an append-only log on a healthy disk. *Lost*: acknowledged
ids that the store (for reports: the folder with its checksums) does not hold afterwards. *Doubled*: what stands there
more often than once; for ingest, every row that one ingest of the finished transcripts would not have written.

After each fault the work is taken up again without it and must succeed; `pragma integrity_check` is asked by another
SQLite library. DuckDB may end the process where a read fails; such an end counts as a strike. What a WAL alone held
is gone with it: tags and conclusions since the last checkpoint; sessions come back from their transcripts. The
staging folder of a report that did not fit on the disk goes with the next run.

A power cut is not made here. SQLite runs with `synchronous=FULL` in WAL mode: a commit returns when its pages were
flushed, so a disk that keeps what it flushed keeps what was acknowledged. Reports and
exported files are flushed and then renamed.

| fault | test |
| --- | --- |
| a kernel that dies in a notebook | `test_a_crash_takes_only_its_own_report` |
| a clock that jumps while reports are due | `test_a_clock_that_jumps_makes_each_slot_exactly_once` |
| one flipped bit | `test_a_flipped_bit_that_changes_a_value_is_found` |
| a secret in arguments, environments, messages | `test_no_secret_is_in_arguments_or_messages` |

The recipes are in `tests/faults/fault_recipes.py`; `python tests/faults/run_faults.py --only NAME` repeats one, with
`--seed N` at other points.
"""

if __name__ == "__main__":
    raise SystemExit(main())
