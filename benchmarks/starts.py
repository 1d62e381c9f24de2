"""From process start to answer: the help page, an evaluation, a report, and where an evaluation's time goes."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from benchmarks.measure import command_line, measure, measure_median
from benchmarks.tables import Section, seconds

if TYPE_CHECKING:
    from pathlib import Path

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)")
_EVENTS = 100_000
REPORTS = 100


def run(folder: Path, *, quick: bool) -> Section:
    """Measure starts and return the section."""
    repeats = 3 if quick else 7
    store = prepare_experiment(folder)
    evaluate = command_line("exp", "evaluate", "bench", "--store", str(store), "--json")
    measure(evaluate)  # builds the mirror
    section = Section("From process start")
    section.add_text(f"Whole processes; an experiment on a store of {_EVENTS:,} events; median of {repeats}.")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "kaizen-analytics --help": command_line("--help"),
        "kaizen-analytics metrics --json": command_line("metrics", "--store", str(store), "--json"),
        "kaizen-analytics exp evaluate": evaluate,
    }
    runs = {name: measure_median(command, repeats) for name, command in commands.items()}
    report = command_line("exp", "report", "bench", "--store", str(store), "--out", str(folder / "reports"))
    runs["kaizen-analytics exp report, cold"] = measure(report)
    many = measure(_prepare_schedule(folder, store, 8 if quick else REPORTS))
    runs[f"kaizen-analytics report due --fast --jobs 2, {len(many.json)} reports"] = many
    rows = [[name, seconds(run.wall_s), seconds(run.cpu_s), f"{run.peak_mb:,.0f} MB"] for name, run in runs.items()]
    section.add_table(["", "wall", "CPU", "peak memory"], rows)
    help_s = runs["kaizen-analytics --help"].wall_s
    section.add_target("kaizen-analytics --help", "at most 0.3 s", seconds(help_s), met=help_s <= 0.3)
    report_s = runs["kaizen-analytics exp report, cold"].wall_s
    section.add_target("one conclusion report, cold", "at most 6 s", seconds(report_s), met=report_s <= 6)
    section.add_target(
        f"{len(many.json)} conclusion reports, --fast --jobs 2",
        f"at most {len(many.json)} s",
        seconds(many.wall_s),
        met=many.wall_s <= len(many.json) and all(slot["state"].startswith("made") for slot in many.json),
    )
    page_kb = max(page.stat().st_size for page in (folder / "reports").rglob("report.html")) / 1000
    section.add_target("size of a conclusion report", "at most 150 KB", f"{page_kb:,.0f} KB", met=page_kb <= 150)
    _add_profile(section, evaluate)
    return section


def prepare_experiment(folder: Path) -> Path:
    """Return a store with one running experiment, `bench`, that has sessions in both arms."""
    store = folder / "experiment.db"
    if store.exists():
        return store
    staged = folder / "experiment.part"
    staged.unlink(missing_ok=True)
    measure([sys.executable, "-m", "benchmarks.stores", "make", str(staged), str(_EVENTS)])
    at = ("--store", str(staged))
    new = (
        "--id",
        "bench",
        "--name",
        "Bench",
        "--metric",
        "tokens_per_session",
        "--bind",
        "manual",
        "--all-workspaces",
        "--design",
        "open",
    )
    measure(command_line("exp", "new", *new, "--target-pct", "-10", *at))
    for variant, branch in (("control", "main"), ("treatment", "change")):
        measure(command_line("exp", "tag", "bench", "--variant", variant, "--where", f"branch={branch}", *at))
    measure(command_line("exp", "start", "bench", *at))
    staged.rename(store)
    return store


def _prepare_schedule(folder: Path, store: Path, reports: int) -> list[str]:
    """Return the command that makes the reports of as many days at once, all of them due and none made."""
    first = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    out = folder / "scheduled"
    shutil.rmtree(out, ignore_errors=True)
    schedules = folder / "reports.toml"
    schedules.write_text(
        f"""[bench]
report = "experiment_conclusion"
cron = "0 0 * * *"
parameters = {{ experiment_id = "bench", store = "{store}" }}
catch_up = {reports}
since = {first.isoformat()}
""",
        encoding="utf-8",
    )
    now = (first + timedelta(days=reports)).isoformat()
    options = ("--schedules", str(schedules), "--out", str(out), "--now", now, "--fast", "--jobs", "2", "--json")
    return command_line("report", "due", *options)


def _add_profile(section: Section, evaluate: list[str]) -> None:
    section.add_text("Where the time of `exp evaluate` goes, one process each for imports and for the rest:")
    imports = profile_imports(evaluate)
    top = sorted(imports.items(), key=lambda item: -item[1])[:8]
    section.add_table(["import of", "time"], [[name, f"{own / 1000:.0f} ms"] for name, own in top])


def profile_imports(command: list[str]) -> dict[str, int]:
    """Return the microseconds that each top-level package takes to import in a command."""
    import subprocess

    python, *rest = command
    done = subprocess.run(
        [python, "-X", "importtime", *rest], capture_output=True, text=True, check=True, env=os.environ
    )
    totals: dict[str, int] = defaultdict(int)
    for own_us, module in _IMPORT.findall(done.stderr):
        totals[module.split(".")[0]] += int(own_us)
    return totals
