"""Reading transcripts: cold, warm and grown, against ccusage and against one pass of a JSON parser.

ccusage, in Rust, only reads and adds up; it keeps nothing. The runs of one case take turns, so that what else the
machine does strikes all of them alike. Ratios are of processor time, which that disturbs less.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Run, command_line, make_once, measure, median_of
from benchmarks.tables import Section, seconds, times
from benchmarks.transcripts import (
    grow_transcripts,
    make_codex_transcripts,
    make_small_transcripts,
    make_transcripts,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEER = "ccusage 20.0.24"
_PEER_PACKAGES = ("ccusage@20.0.24", "@ccusage/ccusage-linux-x64@20.0.24")
"""The npm packages to install; the binary is a package of its own."""

_PASS, _COLD, _WARM, _GROWN = "one pass of json.loads", "ingest, cold", "ingest, nothing new", "ingest, 1 % appended"
_PARSE = """
import sys, json, pathlib
for path in pathlib.Path(sys.argv[1]).rglob("*.jsonl"):
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
"""
_PARTS = """
import json, sys, time
from pathlib import Path
from kaizen_analytics.ingest import claude_code, codex, pipeline, readers, reading, writing
from kaizen_analytics.store import Store

readers._MOST_READERS = 0  # what another process spends could not be told apart
taken, running = {}, []

def clock(part, owner, name):
    timed = getattr(owner, name)
    def run(*given, **named):
        started = time.process_time()
        running.append(0.0)
        try:
            return timed(*given, **named)
        finally:
            all_of_it = time.process_time() - started
            taken[part] = taken.get(part, 0.0) + all_of_it - running.pop()
            if running:
                running[-1] += all_of_it
    setattr(owner, name, run)

clock("lines of files and their JSON", reading, "_feed_lines")
for parser in (claude_code.ClaudeCodeParser, codex.CodexParser):
    clock("from records to events", parser, "_record")
for name in ("_prepare", "_derive"):
    clock("from events to rows", writing.Batch, name)
for name in ("native", "insert", "_begin", "_fetch"):
    clock("SQLite, through DuckDB", Store, name)
clock("all else", pipeline, "run_ingest")
with Store.open(Path(sys.argv[2]), create=True) as store:
    pipeline.run_ingest(store, [Path(sys.argv[1])], environment={})
print(json.dumps(taken))
"""
_LONG_LINE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Case:
    """A tree of transcripts, and how much slower than one pass of json.loads its ingest may be."""

    name: str
    agent: str
    make: Callable[[Path], int]
    most_passes: float | None
    grows: bool = False


def _cases(*, quick: bool) -> tuple[Case, ...]:
    part = 20 if quick else 1
    return (
        Case("Claude Code, 200 MB", "claude_code", lambda home: make_transcripts(home, 200 / part), 2.5, grows=True),
        Case("Codex, 200 MB", "codex", lambda home: make_codex_transcripts(home, 200 / part), 2.5, grows=True),
        Case("20,000 small files", "claude_code", lambda home: make_small_transcripts(home, 20_000 // part), 4),
        Case("one file of 600 MB", "claude_code", lambda home: make_transcripts(home, 1, lines=184_000 // part), None),
    )


def run(folder: Path, *, quick: bool) -> Section:
    """Measure the ingestion of trees of transcripts and return the section."""
    repeats = 1 if quick else 3
    section = Section("Reading transcripts")
    section.add_text(
        "Synthetic transcripts (`benchmarks/transcripts.py`) with the line sizes of real ones; whole processes, start "
        f"included, taking turns; median of {repeats}. `ingest` runs with `--no-outcomes`, where nothing "
        "else is said. Small files have six lines. Processor time includes the processes that read ahead; peak memory "
        "is that of the largest process, and theirs (about 30 MB each) comes on top."
    )
    peer = install_ccusage(folder)
    if peer is None:
        section.add_text(f"{PEER} could not be installed here (`npm install`), so its rows are missing.")
    for case in _cases(quick=quick):
        home = folder / f"{case.name.replace(' ', '-').replace(',', '')}{'-quick' if quick else ''}"
        make_once(home, case.make)
        runs = _take_turns(folder, case, home, peer, repeats)
        size = sum(path.stat().st_size for path in home.rglob("*.jsonl")) / 1e6
        section.add_text(f"**{case.name}** ({size:,.0f} MB)")
        rows = [[name, seconds(run.wall_s), seconds(run.cpu_s), f"{run.peak_mb:,.0f} MB"] for name, run in runs.items()]
        section.add_table(["", "wall", "CPU", "peak memory"], rows)
        if case.grows:
            _remove(folder, "ingested.db")
            parts = measure([sys.executable, "-c", _PARTS, str(home), str(folder / "ingested.db")]).json
            section.add_text("Where the processor time of a cold ingest in one process goes, beside its start:")
            section.add_table(["part", "CPU"], [[name, seconds(taken)] for name, taken in parts.items()])
        _add_targets(section, case, runs)
    long = _measure_long_line(folder)
    rejected = long.json["agents"]["claude_code"]["rejects"]
    section.add_target("one line of 50 MB", "counted", json.dumps(rejected), met=rejected == {"too_long": 1})
    section.add_target("memory for it", "at most 300 MB", f"{long.peak_mb:,.0f} MB", met=long.peak_mb <= 300)
    return section


def _take_turns(folder: Path, case: Case, home: Path, peer: str | None, repeats: int) -> dict[str, Run]:
    ingest = _ingest(folder / "ingested.db", home, case.agent)
    runs: dict[str, list[Run]] = {}

    def add(name: str, command: list[str], environment: dict[str, str] | None = None) -> None:
        runs.setdefault(name, []).append(measure(command, environment=environment))

    for _ in range(repeats):
        add(_PASS, [sys.executable, "-c", _PARSE, str(home)])
        if peer is not None:
            place = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude"), "CODEX_HOME": str(home / ".codex")}
            add(PEER, [peer, "codex" if case.agent == "codex" else "claude", "daily", "--json", "--offline"], place)
        _remove(folder, "ingested.db")
        add(_COLD, ingest)
        add(_WARM, ingest)
        if case.grows:
            add("the same with outcomes", [one for one in ingest if one != "--no-outcomes"])
            former = grow_transcripts(home)
            add(_GROWN, ingest)
            for path, size in former.items():
                os.truncate(path, size)
    return {name: median_of(found) for name, found in runs.items()}


def _ingest(store: Path, home: Path, agent: str) -> list[str]:
    options = ("--store", str(store), "--home", str(home), "--agent", agent, "--no-outcomes", "--json")
    return command_line("ingest", *options)


def _measure_long_line(folder: Path) -> Run:
    home = folder / "home-long-line"
    place = home / ".claude" / "projects" / "-long"
    place.mkdir(parents=True, exist_ok=True)
    long = json.dumps({"type": "user", "content": "x" * _LONG_LINE_BYTES})
    (place / "long.jsonl").write_text(f'{{"type":"summary"}}\n{long}\n{{"type":"summary"}}\n', "utf-8")
    _remove(folder, "long.db")
    return measure(_ingest(folder / "long.db", home, "claude_code"))


def _remove(folder: Path, store: str) -> None:
    for path in folder.glob(f"{store}*"):
        path.unlink()


def install_ccusage(folder: Path) -> str | None:
    """Install a pinned ccusage with npm into a folder; return its program, or None where that does not work here."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    place = folder / PEER.replace(" ", "-")
    program = place / "node_modules" / ".bin" / "ccusage"
    place.mkdir(parents=True, exist_ok=True)
    if not program.exists():
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(place), *_PEER_PACKAGES]
        subprocess.run(command, capture_output=True, check=False, cwd=place)
    if not program.exists():
        return None
    tried = subprocess.run([program, "--version"], capture_output=True, check=False, env=os.environ)
    return None if tried.returncode else str(program)


def _add_targets(section: Section, case: Case, runs: dict[str, Run]) -> None:
    cold = runs[_COLD]
    if case.most_passes is not None:
        ratio = cold.cpu_s / runs[_PASS].cpu_s
        section.add_target(
            f"{case.name}: CPU of a cold ingest, against one pass of json.loads",
            f"at most {case.most_passes:g}x", times(ratio), met=ratio <= case.most_passes,
        )  # fmt: skip
    if (peer := runs.get(PEER)) is not None:
        mine, theirs = count_tokens(cold.json, case.agent), count_ccusage(peer.json)
        same = f"{mine:,} and {theirs:,} tokens"
        section.add_target(f"{case.name}: the same totals as {PEER}", "equal", same, met=mine == theirs)
    if peer is not None and case.grows:
        ratio = cold.wall_s / peer.wall_s
        section.add_target(f"{case.name}: wall time, against {PEER}", "at most 2x", times(ratio), met=ratio <= 2)
    if case.grows:
        for name, most in ((_WARM, 0.35), (_GROWN, 0.6)):
            cpu = runs[name].cpu_s
            section.add_target(f"{case.name}: CPU of {name}", f"at most {most} s", seconds(cpu), met=cpu <= most)
    peak = max(run.peak_mb for name, run in runs.items() if name.startswith("ingest"))
    section.add_target(f"{case.name}: memory", "at most 300 MB", f"{peak:,.0f} MB", met=peak <= 300)


def count_tokens(report: dict[str, Any], agent: str) -> int:
    """Return all tokens of an `ingest --json` report."""
    return sum(value or 0 for value in report["agents"][agent]["tokens"].values())


def count_ccusage(report: dict[str, Any]) -> int:
    """Return all tokens of a `ccusage … daily --json` report."""
    return int(report["totals"]["totalTokens"])
