"""Every console block of the README and docs/ runs on a fresh store of the sample and prints what the page shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console_pages import Command, make_environment, matches, parse_blocks, run_commands
from rows import write_rows
from typer.core import TyperCommand, TyperGroup

from kaizen_analytics.store import Store

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"docs/reference/cli.md"}
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path.relative_to(ROOT).as_posix() not in GENERATED and "```console" in path.read_text(encoding="utf-8")
]
COMMANDS = {
    page: [
        command
        for block in parse_blocks((ROOT / page).read_text(encoding="utf-8"))
        if not block.reason
        for command in block.commands
    ]
    for page in PAGES
}
NOT_RUN = [
    pytest.param(block.reason, id=f"{page}:{block.line}")
    for page in PAGES
    for block in parse_blocks((ROOT / page).read_text(encoding="utf-8"))
    if block.reason
]


@pytest.fixture
def folder(tmp_path: Path, sample_store: Path) -> Path:
    """A repository to work in, with the sample in it and as home folder; beside it a fresh store of the sample."""
    shutil.copytree(ROOT / "data" / "sample", tmp_path / "work" / "data" / "sample")
    shutil.copytree(ROOT / "data" / "sample" / "home", tmp_path / "home")
    shutil.copy(sample_store, tmp_path / "analytics.db")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    commit = [*identity, "commit", "-q", "--allow-empty", "-m", "Change"]
    branch = ["checkout", "-q", "-b", "concise-instructions"]
    for arguments in (["init", "-q", "-b", "main"], commit, branch, commit, ["checkout", "-q", "main"]):
        subprocess.run(["git", *arguments], cwd=tmp_path / "work", check=True)
    return tmp_path / "work"


def add_recent(folder: Path) -> None:
    """Store thirty sessions of the last days in the folder: a lot needs something to draw."""
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {"id": f"recent-{i}", "workspace": str(folder), "started_at_ms": now_ms - (i + 1) * 3_600_000}
        for i in range(30)
    ]
    with Store.open(folder.parent / "analytics.db") as store:
        write_rows(store, rows)


def run_page(page: str, folder: Path) -> list[str]:
    if "--assign session" in page:
        add_recent(folder)
    commands = [command for block in parse_blocks(page) if not block.reason for command in block.commands]
    return run_commands(commands, folder, make_environment(folder.parent))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_as_shown(page: str, folder: Path, need_tool) -> None:
    need_tool("bash")
    problems = run_page((ROOT / page).read_text(encoding="utf-8"), folder)
    assert problems == [], "\n\n".join(problems)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if COMMANDS[page]])
def test_every_command_and_option_of_a_page_exists(page: str, program: Callable[..., Any], monkeypatch) -> None:
    group = TyperGroup.invoke
    monkeypatch.setattr(TyperCommand, "invoke", lambda *_: None)
    monkeypatch.setattr(TyperGroup, "invoke", lambda self, ctx: group(self, ctx) if ctx._protected_args else None)
    pattern = re.compile(r"kaizen-analytics ((?:\\\n|[^|;&)\n>])+)")
    calls = [call.replace("\\\n", " ") for one in COMMANDS[page] for call in pattern.findall(one.text)]
    for call in calls:
        answer = program(*shlex.split(call, comments=True))
        assert answer.code == 0, f"{call}: {answer.err}"


@pytest.mark.parametrize("reason", NOT_RUN)
def test_a_block_that_is_not_run_says_why(reason: str) -> None:
    pytest.skip(f"not run: {reason}")


GOOD = """\
```console
$ export NAME=kaizen
$ kaizen-analytics --version
kaizen-analytics …
$ cd /
```

Prose, and ```other``` fences.

<!-- not run: needs a bucket -->
```console
$ false
```

```console
$ echo $NAME; pwd
kaizen
/
$ printf 'a\\nb\\n' | \\
  cat
…
b
$ kaizen-analytics exp show nothing --store nothing.db
error: …
…
```
"""


@pytest.mark.slow
def test_a_page_runs_in_one_shell_and_leaves_out_what_it_says(tmp_path: Path) -> None:
    assert [block.reason for block in parse_blocks(GOOD)] == [None, "needs a bucket", None]
    assert run_page(GOOD, tmp_path) == []


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("$ echo a\nb\n", "it printed\na"),
        ("$ echo a\n$ false\n", "exit code 1"),
        ("$ true\n$ echo error: no\nerror: no\n", "exit code 0"),
        ("$ exit 3\n$ true\n", "ended after 0 commands"),
        ("$ kaizen-analytics --version\nkaizen-analytics 0\n", "the page shows"),
    ],
)
def test_what_a_page_shows_wrongly_is_a_problem_with_its_line(tmp_path: Path, block: str, problem: str) -> None:
    [found] = run_page(f"# Page\n\n```console\n{block}```\n", tmp_path)
    assert problem in found
    assert "line " in found or "shell" in found


def test_output_without_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2 is output before the first command"):
        parse_blocks("```console\noutput\n```\n")


def test_commands_keep_their_lines_and_continuations() -> None:
    [block] = parse_blocks("# Title\n\n```console\n$ a \\\n  b\nx\n\n$ c\n```\n")
    assert block.commands == (Command(4, "a \\\n  b", "x\n\n"), Command(8, "c", None))


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a … c\n", "a b c\n", True),
        ("a … c\n", "a b d\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n", "a\nb\n", False),
        ("(a)\n", "(a)  \n\n", True),
    ],
)
def test_an_ellipsis_stands_for_anything(shown: str, printed: str, *, same: bool) -> None:
    assert matches(shown, printed) is same


def test_the_environment_is_that_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAIZEN_TABLES", "x")
    environment = make_environment(tmp_path)
    assert "KAIZEN_TABLES" not in environment
    assert environment["PATH"].endswith(os.environ["PATH"])
