"""Reading transcripts: cold and warm, against ccusage and against one pass of a JSON parser."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.measure import ROOT, Run, command_line, measure_median
from benchmarks.tables import Section, seconds, times
from benchmarks.transcripts import make_transcripts

if TYPE_CHECKING:
    from pathlib import Path

_PARSE = """
import sys, orjson, pathlib
lines = 0
for path in pathlib.Path(sys.argv[1]).rglob("*.jsonl"):
    with path.open("rb") as file:
        for line in file:
            orjson.loads(line)
            lines += 1
print(lines)
"""


def run(folder: Path, *, quick: bool) -> Section:
    """Measure the ingestion of a tree of transcripts and return the section."""
    megabytes, repeats = (10, 1) if quick else (200, 3)
    home = folder / f"home-{megabytes}"
    if not home.exists():
        staged = folder / "home.part"
        shutil.rmtree(staged, ignore_errors=True)
        make_transcripts(staged, megabytes)
        staged.rename(home)
    section = Section("Reading transcripts")
    section.add_text(
        f"{megabytes} MB of synthetic Claude Code transcripts (`benchmarks/transcripts.py`) with the line sizes of "
        f"real ones; whole processes, start included; median of {repeats}."
    )
    runs = _measure(folder, home, repeats)
    rows = [[name, seconds(run.wall_s), seconds(run.cpu_s), f"{run.peak_mb:,.0f} MB"] for name, run in runs.items()]
    section.add_table(["", "wall", "CPU", "peak memory"], rows)
    _add_targets(section, runs)
    return section


def _measure(folder: Path, home: Path, repeats: int) -> dict[str, Run]:
    store = folder / "ingested.db"
    ingest = command_line("ingest", "--store", str(store), "--home", str(home), "--agent", "claude_code", "--json")
    runs = {"one pass of orjson": measure_median([sys.executable, "-c", _PARSE, str(home)], repeats)}
    ccusage = find_ccusage()
    if ccusage is not None:
        environment = {"CLAUDE_CONFIG_DIR": str(home / ".claude"), "HOME": str(home)}
        command = [ccusage, "daily", "--json", "--offline"]
        runs["ccusage (stores nothing)"] = measure_median(command, repeats, environment=environment)
    cold = []
    for _ in range(repeats):
        for path in folder.glob("ingested.db*"):
            path.unlink()
        cold.append(measure_median(ingest, 1))
    runs["ingest, cold"] = sorted(cold, key=lambda run: run.wall_s)[repeats // 2]
    runs["ingest, warm: nothing new"] = measure_median(ingest, repeats)
    return runs


def find_ccusage() -> str | None:
    """Return the ccusage of the PATH or of a local `npm install`, or None."""
    return shutil.which("ccusage") or shutil.which("ccusage", path=str(ROOT / "node_modules" / ".bin"))


def _add_targets(section: Section, runs: dict[str, Run]) -> None:
    cold, warm = runs["ingest, cold"], runs["ingest, warm: nothing new"]
    parse = runs["one pass of orjson"]
    peer = runs.get("ccusage (stores nothing)")
    if peer is None:
        section.add_text("ccusage is not installed here (`npm install ccusage`), so its row is missing.")
    else:
        ratio = cold.wall_s / peer.wall_s
        section.add_target("ingest, cold, against ccusage", "at most 1x", times(ratio), met=ratio <= 1)
        mine, theirs = count_tokens(cold.json), count_ccusage(peer.json)
        section.add_target("the same totals as ccusage", "equal", f"{mine:,} and {theirs:,} tokens", met=mine == theirs)
    ratio = cold.wall_s / parse.wall_s
    section.add_target("ingest, cold, against one JSON pass (a stretch)", "at most 2x", times(ratio), met=ratio <= 2)
    section.add_target("ingest, nothing new", "under 1 s", seconds(warm.wall_s), met=warm.wall_s < 1)
    section.add_target("memory of ingest", "within 1 GB", f"{cold.peak_mb:,.0f} MB", met=cold.peak_mb <= 1_000)


def count_tokens(report: dict[str, Any]) -> int:
    """Return all tokens of an `ingest --json` report."""
    return sum(value or 0 for value in report["agents"]["claude_code"]["tokens"].values())


def count_ccusage(report: dict[str, Any]) -> int:
    """Return all tokens of a `ccusage daily --json` report."""
    totals = json.loads(json.dumps(report["totals"]))
    names = ("inputTokens", "outputTokens", "cacheCreationTokens", "cacheReadTokens")
    return sum(int(totals[name]) for name in names)
