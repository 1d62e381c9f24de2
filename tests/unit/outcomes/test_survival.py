"""Surviving lines equal `git blame`, on histories made at random and on hand-made ones."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from repositories import Repo

from kaizen_analytics.core.git import Repository
from kaizen_analytics.outcomes.survival import count_surviving


def blame(repo: Repo, at: str) -> Counter[str]:
    """Return the number of lines of each commit at a commit, as `git blame` sees them."""
    lines: Counter[str] = Counter()
    for path in filter(None, repo.git("ls-tree", "-r", "-z", "--name-only", at).split("\0")):
        for line in repo.git("blame", "-s", "-l", "--root", at, "--", path).splitlines():
            lines[line.split()[0].lstrip("^")] += 1
    return lines


def count(repo: Repo, at: str) -> Counter[str]:
    repository = Repository.open(repo.folder)
    log = repository.read_log(at)
    found = count_surviving(repository, log, {at: [entry.commit for entry in log]})
    return Counter({commit: lines for (_, commit), lines in found.items() if lines})


def test_lines_survive_a_rename(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    first = repo.commit("One", a_py=[f"line {number}" for number in range(9)])
    repo.git("mv", "a.py", "b.py")
    second = repo.commit("Two")
    repo.write("b.py", *(f"line {number}" for number in range(8)), "new")
    third = repo.commit("Three")
    assert count(repo, repo.head()) == {first: 8, third: 1}
    assert second not in count(repo, repo.head())


def test_names_with_quotation_marks_tabs_and_umlauts(tmp_path: Path) -> None:
    repo = Repo(tmp_path)
    for name in ('a"b.py', "tab\there.py", "ümlaut.py", "a b.py"):
        repo.write(name, "1", "2")
    first = repo.commit("One")
    repo.write("ümlaut.py", "1")
    repo.write('a"b.py', "1", "2", "3")
    second = repo.commit("Two")
    assert count(repo, repo.head()) == {first: 7, second: 1}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_any_history_equals_blame(tmp_path: Path, seed: int) -> None:
    repo, chance = Repo(tmp_path), random.Random(seed)
    files = {"a.py": [f"a{number}" for number in range(8)], "b.py": [f"b{number}" for number in range(8)]}
    for path, lines in files.items():
        repo.write(path, *lines)
    repo.commit("Start")
    for step in range(14):
        if step % 5 == 2:
            repo.branch(f"topic-{step}")
        _change(repo, chance, step)
        if step % 5 == 4:
            repo.checkout("main")
            _change(repo, chance, 100 + step)
            repo.git("merge", "-q", "-X", chance.choice(["ours", "theirs"]), "--no-ff", f"topic-{step - 2}")
    repo.checkout("main")
    lines = blame(repo, repo.head())
    assert count(repo, repo.head()) == lines
    repository = Repository.open(repo.folder)
    log = repository.read_log(repo.head())
    for entry in log[::3]:
        [alone] = count_surviving(repository, log, {repo.head(): [entry.commit]}).values()
        assert alone == lines[entry.commit], "the walk begins at the commit, and the files before it are no one's"


def _change(repo: Repo, chance: random.Random, step: int) -> None:
    path = repo.folder / chance.choice(sorted(file.name for file in repo.folder.glob("*.py")))
    lines = path.read_text().splitlines()
    for _ in range(chance.randint(1, 3)):
        place = chance.randint(0, len(lines))
        lines[place : place + chance.randint(0, 2)] = [f"{step}-{number}" for number in range(chance.randint(0, 3))]
    if len(lines) < 3:
        lines += [f"{step} more {number}" for number in range(5)]
    repo.write(path.name, *lines)
    repo.commit(f"Step {step}")
