"""From process start to answer: the help page, an evaluation, a report, and where an evaluation's time goes."""

from __future__ import annotations

import os
import pstats
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import command_line, measure, measure_median
from benchmarks.tables import Section, seconds

_IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)")
_EVENTS = 100_000
REPORTS = 100
PARTS = {
    "read_sample": "reading the sample from the store",
    "assess": "judging it, with the next two",
    "_compute_series": "the estimate over time",
    "_compute_segments": "segments",
    "evaluation_document": "the document",
}
"""Functions of the evaluation, and what they do."""


def run(folder: Path, *, quick: bool) -> Section:
    """Measure starts and return the section."""
    repeats = 3 if quick else 7
    store = prepare_experiment(folder)
    evaluate = command_line("exp", "evaluate", "bench", "--store", str(store), "--json")
    section = Section("From process start")
    section.add_text(f"Whole processes; an experiment on a store of {_EVENTS:,} events; median of {repeats}.")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "kaizen-analytics --help": command_line("--help"),
        "kaizen-analytics metrics --json": command_line("metrics", "--store", str(store), "--json"),
        "kaizen-analytics exp evaluate": evaluate,
    }
    runs = {name: measure_median(command, repeats) for name, command in commands.items()}
    shutil.rmtree(folder / "reports", ignore_errors=True)
    report = command_line("exp", "report", "bench", "--force", "--store", str(store), "--out", str(folder / "reports"))
    runs["kaizen-analytics exp report, cold"] = measure_median(report, min(repeats, 3))
    ids = [f"bench-{number}" for number in range(8 if quick else REPORTS)]
    measure([sys.executable, "-m", "benchmarks.starts", str(store), *ids])
    named = [word for name in ids for word in ("-p", f"experiment_id={name}")]
    options = ("--jobs", "2", "--out", str(folder / "reports"))
    many = measure(command_line("report", "run", "experiment_conclusion", "-p", f"store={store}", *named, *options))
    runs[f"kaizen-analytics report run --jobs 2, {len(ids)} reports"] = many
    pages = list((folder / "reports" / "experiment_conclusion").glob("bench-*/latest/report.html"))
    rows = [[name, seconds(run.wall_s), seconds(run.cpu_s), f"{run.peak_mb:,.0f} MB"] for name, run in runs.items()]
    section.add_table(["", "wall", "CPU", "peak memory"], rows)
    help_s = runs["kaizen-analytics --help"].wall_s
    section.add_target("kaizen-analytics --help", "at most 0.3 s", seconds(help_s), met=help_s <= 0.3)
    report_s = runs["kaizen-analytics exp report, cold"].wall_s
    section.add_target("one conclusion report, cold", "at most 6 s", seconds(report_s), met=report_s <= 6)
    section.add_target(
        f"{len(ids)} conclusion reports, --jobs 2",
        f"at most {2 * len(ids)} s",
        seconds(many.wall_s),
        met=many.wall_s <= 2 * len(ids) and len(pages) == len(ids),
    )
    page_kb = max(page.stat().st_size for page in pages) / 1000
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


def _add_profile(section: Section, evaluate: list[str]) -> None:
    section.add_text("Where the time of `exp evaluate` goes: imports, in a process of their own,")
    imports = profile_imports(evaluate)
    top = sorted(imports.items(), key=lambda item: -item[1])[:8]
    rest = sum(imports.values()) - sum(own for _, own in top)
    rows = [*top, ("all others", rest)]
    section.add_table(["import of", "time"], [[name, f"{own / 1000:.0f} ms"] for name, own in rows])
    section.add_text("and the rest, in another one under a profiler, which makes it slower:")
    parts = profile_parts(evaluate)
    section.add_table(["part", "time"], [[PARTS[name], f"{1000 * spent:.0f} ms"] for name, spent in parts.items()])


def profile_parts(command: list[str]) -> dict[str, float]:
    """Return the seconds that each of `PARTS` takes in a command."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile"
        python, *rest = command
        subprocess.run([python, "-m", "cProfile", "-o", str(profile), *rest], capture_output=True, check=True)
        calls = pstats.Stats(str(profile)).get_stats_profile().func_profiles
    return {name: calls[name].cumtime for name in PARTS}


def profile_imports(command: list[str]) -> dict[str, int]:
    """Return the microseconds that each top-level package takes to import in a command."""
    python, *rest = command
    done = subprocess.run(
        [python, "-X", "importtime", *rest], capture_output=True, text=True, check=True, env=os.environ
    )
    totals: dict[str, int] = defaultdict(int)
    for own_us, module in _IMPORT.findall(done.stderr):
        totals[module.split(".")[0]] += int(own_us)
    return totals


def copy_experiment(path: Path, names: list[str]) -> None:
    """Start experiments like `bench` that do not exist yet, with the same sessions in their arms."""
    from kaizen_analytics.core.model import State
    from kaizen_analytics.experiments.lifecycle import new_experiment, start, tag
    from kaizen_analytics.experiments.plan import get_plan
    from kaizen_analytics.store import Store
    from kaizen_analytics.store.experiments import get_experiment, list_experiments, manual_tags

    with Store.open(path) as store, store.write():
        bench, plan, tags = get_experiment(store, "bench"), get_plan(store, "bench"), manual_tags(store, "bench")
        known = {experiment.id for experiment in list_experiments(store)}
        now_ms = plan.started.started_at_ms
        for name in sorted(set(names) - known):
            new_experiment(store, replace(bench, id=name, state=State.DRAFT), replace(plan, started=None, rule=None))
            for arm in set(tags.values()):
                tag(store, name, [session for session, put in tags.items() if put is arm], arm, now_ms=now_ms)
            start(store, name, now_ms=now_ms)


if __name__ == "__main__":
    copy_experiment(Path(sys.argv[1]), sys.argv[2:])
