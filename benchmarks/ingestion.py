"""Reading transcripts: cold and warm, against ccusage and against one pass of a JSON parser.

ccusage is measured twice: the last release in JavaScript that Node 20 runs, and a release in Rust. Both only read and
add up; neither keeps anything. Ratios are of processor time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Run, command_line, measure, measure_median
from benchmarks.tables import Section, seconds, times
from benchmarks.transcripts import make_transcripts

if TYPE_CHECKING:
    from pathlib import Path

PEERS = {
    "ccusage 18.0.11, in JavaScript": ("ccusage@18.0.11",),
    "ccusage 20.0.24, in Rust": ("ccusage@20.0.24", "@ccusage/ccusage-linux-x64@20.0.24"),
}
"""Name in the table, and the npm packages to install; the second one's binary is a package of its own."""

_PARSE = """
import sys, {parser}, pathlib
lines = 0
for path in pathlib.Path(sys.argv[1]).rglob("*.jsonl"):
    with path.open("rb") as file:
        for line in file:
            {parser}.loads(line)
            lines += 1
print(lines)
"""
_LONG_LINE_BYTES = 50_000_000


def run(folder: Path, *, quick: bool) -> Section:
    """Measure the ingestion of a tree of transcripts and return the section."""
    megabytes, repeats = (10, 1) if quick else (210, 3)
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
    ingest = _ingest(folder / "ingested.db", home)
    runs = {
        f"one pass of {parser}.loads": measure_median(
            [sys.executable, "-c", _PARSE.format(parser=parser), str(home)], repeats
        )
        for parser in ("json", "orjson")
    }
    for name, packages in PEERS.items():
        program = install_ccusage(folder, packages)
        if program is not None:
            environment = {"CLAUDE_CONFIG_DIR": str(home / ".claude"), "HOME": str(home)}
            runs[name] = measure_median([program, "daily", "--json", "--offline"], repeats, environment=environment)
    cold = []
    for _ in range(repeats):
        _remove(folder, "ingested.db")
        cold.append(measure(ingest))
    runs["ingest, cold"] = sorted(cold, key=lambda run: run.cpu_s)[repeats // 2]
    runs["ingest, warm: nothing new"] = measure_median(ingest, repeats)
    runs["ingest of one line of 50 MB"] = _measure_long_line(folder)
    return runs


def _ingest(store: Path, home: Path) -> list[str]:
    return command_line("ingest", "--store", str(store), "--home", str(home), "--agent", "claude_code", "--json")


def _measure_long_line(folder: Path) -> Run:
    home = folder / "home-long-line"
    place = home / ".claude" / "projects" / "-long"
    place.mkdir(parents=True, exist_ok=True)
    long = json.dumps({"type": "user", "content": "x" * _LONG_LINE_BYTES})
    (place / "long.jsonl").write_text(f'{{"type":"summary"}}\n{long}\n{{"type":"summary"}}\n', "utf-8")
    _remove(folder, "long.db")
    return measure(_ingest(folder / "long.db", home))


def _remove(folder: Path, store: str) -> None:
    for path in folder.glob(f"{store}*"):
        path.unlink()


def install_ccusage(folder: Path, packages: tuple[str, ...]) -> str | None:
    """Install a pinned ccusage with npm into a folder; return its program, or None where that does not work here."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    place = folder / packages[0].replace("@", "-")
    program = place / "node_modules" / ".bin" / "ccusage"
    place.mkdir(parents=True, exist_ok=True)
    for package in packages:
        if not (place / "node_modules" / package.rpartition("@")[0]).exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), package]
            subprocess.run(command, capture_output=True, check=False, cwd=place)
    if not program.exists():
        return None
    tried = subprocess.run([program, "--version"], capture_output=True, check=False, env=os.environ)
    return None if tried.returncode else str(program)


def _add_targets(section: Section, runs: dict[str, Run]) -> None:
    cold, warm = runs["ingest, cold"], runs["ingest, warm: nothing new"]
    long, parse = runs["ingest of one line of 50 MB"], runs["one pass of json.loads"]
    for name in PEERS:
        peer = runs.get(name)
        if peer is None:
            section.add_text(f"{name}, could not be installed here (`npm install`), so its row is missing.")
            continue
        ratio = cold.cpu_s / peer.cpu_s
        section.add_target(f"CPU of a cold ingest, against {name}", "at most 1x", times(ratio), met=ratio <= 1)
        mine, theirs = count_tokens(cold.json), count_ccusage(peer.json)
        section.add_target(f"the same totals as {name}", "equal", f"{mine:,} and {theirs:,} tokens", met=mine == theirs)
    ratio = cold.cpu_s / parse.cpu_s
    section.add_target(
        "CPU of a cold ingest, against one pass of json.loads (a stretch)", "at most 2x", times(ratio), met=ratio <= 2
    )
    section.add_target("ingest, nothing new", "under 1 s", seconds(warm.wall_s), met=warm.wall_s < 1)
    peak = max(cold.peak_mb, warm.peak_mb, long.peak_mb)
    section.add_target("memory of ingest", "within 500 MB", f"{peak:,.0f} MB", met=peak <= 500)
    rejected = long.json["agents"]["claude_code"]["rejects"]
    section.add_target("one line of 50 MB", "counted", json.dumps(rejected), met=rejected == {"too_long": 1})


def count_tokens(report: dict[str, Any]) -> int:
    """Return all tokens of an `ingest --json` report."""
    return sum(value or 0 for value in report["agents"]["claude_code"]["tokens"].values())


def count_ccusage(report: dict[str, Any]) -> int:
    """Return all tokens of a `ccusage daily --json` report."""
    totals = json.loads(json.dumps(report["totals"]))
    names = ("inputTokens", "outputTokens", "cacheCreationTokens", "cacheReadTokens")
    return sum(int(totals[name]) for name in names)
