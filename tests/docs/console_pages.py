"""Read the console blocks of a page of documentation and run them in one shell, as a reader would.

Lines of a console block that begin with `$ ` are commands; a `\\` at the end of a line continues the command. The lines
below a command, if there are any, are its output: `…` stands for any text, and a line of `…` for any number of lines.
A command whose output begins with `error: ` must fail; every other must succeed. `<!-- not run: reason -->` above a
block leaves it out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?ms)(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?^```console\n(?P<body>.*?)^```$")
_ERROR = "error: "


@dataclass(frozen=True, slots=True)
class Command:
    """A command, its line on the page and the output that the page shows; None where it shows none."""

    line: int
    text: str
    output: str | None


@dataclass(frozen=True, slots=True)
class Block:
    """A console block; `reason` says why it is not run."""

    line: int
    commands: tuple[Command, ...]
    reason: str | None


def parse_blocks(page: str) -> list[Block]:
    """Return the console blocks of a page.

    Raises:
        ValueError: a block has output before its first command.
    """
    blocks = []
    for match in _BLOCK.finditer(page):
        first = page[: match.start("body")].count("\n") + 1
        blocks.append(Block(first - 1, _parse_commands(match["body"], first), match["reason"]))
    return blocks


def _parse_commands(body: str, first: int) -> tuple[Command, ...]:
    commands: list[Command] = []
    lines = iter(enumerate(body.splitlines(), first))
    for number, line in lines:
        if line.startswith("$ "):
            text = line[2:]
            while text.endswith("\\"):
                text += "\n" + next(lines)[1]
            commands.append(Command(number, text, None))
        elif not commands:
            raise ValueError(f"line {number} is output before the first command: {line!r}")
        else:
            last = commands.pop()
            commands.append(Command(last.line, last.text, f"{last.output or ''}{line}\n"))
    return tuple(commands)


def matches(expected: str, printed: str) -> bool:
    """Return whether a command printed what the page shows."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        pattern += "(?:.*\n)*" if line == "…" else ".*".join(map(re.escape, line.rstrip().split("…"))) + "[ ]*\n"
    return re.fullmatch(pattern, printed.rstrip() + "\n") is not None


def run_commands(commands: list[Command], folder: Path, environment: dict[str, str]) -> list[str]:
    """Run the commands in one shell in a folder and return what is wrong, command by command."""
    end = "==== end of command"
    script = "".join(f"{{ {command.text}\n}} 2>&1 </dev/null\nprintf '\\n{end} %s\\n' $?\n" for command in commands)
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    answers = re.findall(rf"(.*?)\n{end} (\d+)\n", done.stdout, re.DOTALL)
    problems = [
        problem
        for command, (printed, code) in zip(commands, answers, strict=False)
        if (problem := _compare(command, printed, int(code)))
    ]
    ended = "" if len(answers) == len(commands) else f"the shell ended after {len(answers)} commands: {done.stderr}"
    return [*problems, *filter(None, [ended])]


def _compare(command: Command, printed: str, code: int) -> str:
    wanted_failure = (command.output or "").startswith(_ERROR)
    if (code != 0) != wanted_failure:
        return f"line {command.line}: $ {command.text}\nexit code {code}\n{printed}"
    if command.output is not None and not matches(command.output, printed):
        return f"line {command.line}: $ {command.text}\nthe page shows\n{command.output}it printed\n{printed}"
    return ""


def make_environment(folder: Path) -> dict[str, str]:
    """Return the environment of a reader who has the sample: its home folder, its store and the command on the PATH.

    The proxy is a closed port of this machine, so that no page reaches a network.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KAIZEN_", "GIT_", "XDG_"))}
    closed = "http://127.0.0.1:9"
    return {
        **kept,
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), closed),
        "HOME": str(folder / "home"),
        "KAIZEN_HOME": str(folder / "home" / ".kaizen"),
        "KAIZEN_STORE": str(folder / "analytics.db"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "TZ": "UTC",
    }
