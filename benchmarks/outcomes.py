"""Outcomes on a history of 10,000 commits: the first run, a run with nothing new, and one after a new commit.

`git fast-import` writes the repository: four fifths of the commits stand on the default branch, the others on branches
that were squashed into it, merged, or left. Every commit belongs to a session.
"""

from __future__ import annotations

import json
import random
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks.measure import command_line, make_once, measure, measure_median
from benchmarks.tables import Section, seconds

if TYPE_CHECKING:
    from pathlib import Path

_FILES, _LINES = 300, 120
_STEP_S = 1_800
_PER_SESSION = 4
_END_S = 1_790_000_000
_WHO = "Ada <ada@example.org>"


def run(folder: Path, *, quick: bool) -> Section:
    """Measure `outcomes` as whole processes and return the section."""
    count, repeats = (500, 1) if quick else (10_000, 3)
    place = folder / f"outcomes-{count}"
    make_once(place, lambda staged: make_history(staged / "repo", count))
    store, home = place / "kaizen.db", place / "home"
    if not home.exists():
        write_sessions(home, place / "repo")
    for path in place.glob("kaizen.db*"):
        path.unlink()
    measure(command_line("ingest", "--store", str(store), "--home", str(home), "--no-outcomes", "--json"))
    command = command_line("outcomes", "--store", str(store), "--json")
    cold = measure(command)
    warm = measure_median(command, repeats)
    add_commit(place / "repo")
    moved = measure(command)
    section = Section("Outcomes")
    landed = sum(one["landed"] is True for one in cold.json["outcomes"])
    section.add_text(
        f"A repository of {count:,} commits in {_FILES} files, written by `git fast-import`, all of them made by "
        f"{len(cold.json['outcomes']):,} sessions, of which {landed:,} landed. Whole processes, start included."
    )
    names = ("the first run", f"nothing new, median of {repeats}", "after a new commit on the default branch")
    runs = zip(names, (cold, warm, moved), strict=True)
    section.add_table(
        ["", "wall", "CPU", "peak memory"],
        [[name, seconds(one.wall_s), seconds(one.cpu_s), f"{one.peak_mb:,.0f} MB"] for name, one in runs],
    )
    section.add_target("outcomes of 10,000 commits, cold", "at most 20 s", seconds(cold.wall_s), met=cold.wall_s <= 20)
    section.add_target("outcomes of 10,000 commits, warm", "at most 1 s", seconds(warm.wall_s), met=warm.wall_s <= 1)
    return section


def make_history(folder: Path, count: int) -> None:
    """Write a repository of `count` commits, the last one at a fixed time."""
    folder.mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    stream = "".join(_History(count).write()).encode()
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run(["git", "-C", str(folder), "config", "gc.auto", "0"], check=True)


class _History:
    """The stream that `git fast-import` reads."""

    def __init__(self, count: int) -> None:
        self._count, self._made = count, 0
        self._tips: dict[str, int] = {}
        self._chance = random.Random(count)
        self._files = {f"src/f{i:03}.py": [f"{i} {n}" for n in range(_LINES)] for i in range(_FILES)}

    def write(self) -> list[str]:
        """Return the parts of the stream."""
        paths = list(self._files)
        parts = [self._commit("main", "Start", dict(self._files))]
        while self._made < self._count:
            kind = self._chance.random()
            if kind < 0.06 and self._made + 5 < self._count:
                parts += self._branch(merged=kind < 0.02, squashed=0.02 <= kind < 0.05)
            else:
                parts.append(self._commit("main", "Work", self._change(self._chance.choice(paths))))
        return parts

    def _branch(self, *, merged: bool, squashed: bool) -> list[str]:
        name, kept = f"topic-{self._made}", {path: list(lines) for path, lines in self._files.items()}
        mine, other = self._chance.sample(list(self._files), 2)
        parts = [f"reset refs/heads/{name}\nfrom :{self._tips['main']}\n\n"]
        parts += [self._commit(name, "Step", self._change(mine)) for _ in range(3)]
        done = {mine: self._files[mine]}
        self._files = kept
        parts.append(self._commit("main", "Meanwhile", self._change(other)))
        if merged or squashed:
            self._files |= done
            parts.append(self._commit("main", f"Land {name}", done, merges=name if merged else None))
        return parts

    def _change(self, path: str) -> dict[str, list[str]]:
        lines = list(self._files[path])
        start = self._chance.randrange(len(lines))
        lines[start : start + self._chance.randrange(6)] = [
            f"{self._made} {n}" for n in range(self._chance.randrange(1, 8))
        ]
        self._files[path] = lines
        return {path: lines}

    def _commit(self, branch: str, message: str, files: dict[str, list[str]], merges: str | None = None) -> str:
        self._made += 1
        at_s = _END_S - (self._count - self._made) * _STEP_S
        self._tips[branch] = self._made
        head = f"commit refs/heads/{branch}\nmark :{self._made}\ncommitter {_WHO} {at_s} +0000\n"
        head += _data(f"{message} {self._made}") + (f"merge :{self._tips[merges]}\n" if merges else "")
        return head + "".join(f"M 644 inline {path}\n{_data(_text(lines))}" for path, lines in files.items())


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _data(text: str) -> str:
    return f"data {len(text)}\n{text}\n"


def write_sessions(home: Path, repository: Path) -> None:
    """Write transcripts of Claude Code whose sessions test and commit, four commits each."""
    command = ["git", "-C", str(repository), "log", "--all", "--reverse", "--format=%h %ct"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    folder = home / ".claude" / "projects" / "-repo"
    folder.mkdir(parents=True)
    for number in range(0, len(listing), _PER_SESSION):
        commits = [line.split() for line in listing[number : number + _PER_SESSION]]
        name = f"s{number:05}"
        lines = [_exchange(name, repository, i, int(at_s), commit) for i, (commit, at_s) in enumerate(commits)]
        (folder / f"{name}.jsonl").write_text("".join(lines), "utf-8")


def _exchange(name: str, repository: Path, number: int, at_s: int, commit: str) -> str:
    call = f"toolu_{name}{number}"
    use = {"type": "tool_use", "id": call, "name": "Bash", "input": {"command": "pytest -q && git commit -qam Work"}}
    usage = {"input_tokens": 10, "output_tokens": 5}
    result = {"type": "tool_result", "tool_use_id": call, "content": f"[main {commit}] Work", "is_error": False}
    messages = (
        ("assistant", {"id": f"msg_{call}", "role": "assistant", "model": "m", "content": [use], "usage": usage}),
        ("user", {"role": "user", "content": [result]}),
    )
    moment = datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
    own = {"sessionId": name, "cwd": str(repository), "timestamp": moment}
    return "".join(
        json.dumps({"type": kind, **own, "uuid": f"{call}-{kind}", "message": message}) + "\n"
        for kind, message in messages
    )


def add_commit(repository: Path) -> None:
    """Put a commit on the default branch that no session made."""
    stream = f"commit refs/heads/main\ncommitter {_WHO} {_END_S + 60} +0000\n{_data('More')}from refs/heads/main^0\n"
    stream += f"M 644 inline more.txt\n{_data('more')}"
    subprocess.run(
        ["git", "-C", str(repository), "fast-import", "--quiet", "--force"], input=stream.encode(), check=True
    )
