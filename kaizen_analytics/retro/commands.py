"""Shell commands of findings: what worked in the place of what failed, what may be quoted, and what may be allowed.

Everything here works on the text of commands; nothing is run.
"""

from __future__ import annotations

import re
import shlex
from difflib import SequenceMatcher
from itertools import dropwhile
from typing import TYPE_CHECKING

from kaizen_analytics.outcomes.commands import classify, split_command
from kaizen_analytics.retro.material import read_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNSAFE = re.compile(r"[`;|&<>$\n\r\x00-\x1f]|\$\(")
_SENTENCE = re.compile(r"'[^']* [^']*'|\"")
_WINDOWS_PATH = re.compile(r"(?:^|[\s\"'])(?:[A-Za-z]:|\.{1,2}|[\w.-]+)?\\[\w.]")
_ASSIGNMENT = re.compile(r"\w+=")
_LONGEST = 120


def quote(text: str, *, is_path: bool = False) -> str | None:
    """Return a command or path as code for a line of instructions; None where it could say more than itself.

    Letters that look like others are left out of commands, and so are words with spaces, which may be sentences.

    >>> quote("go test ./..."), quote("true; rm -rf /") is None, quote("l\u0455") is None
    ('`go test ./...`', True, True)
    """
    plain = " ".join(text.split())
    fits = " " not in plain if is_path else plain.isascii() and not _SENTENCE.search(plain)
    shown = plain and len(plain) <= _LONGEST and plain.isprintable() and fits
    return f"`{plain}`" if shown and not _UNSAFE.search(text) else None


def split_parts(command: str) -> list[list[str]]:
    """Return the words of a command's simple commands, without assignments in front of them.

    A command with paths of Windows has none: a shell of the other systems takes their backslashes out.

    >>> split_parts("cd api && CI=1 go test ./...")
    [['cd', 'api'], ['go', 'test', './...']]
    """
    if _WINDOWS_PATH.search(command):
        return []
    parts = [list(dropwhile(_ASSIGNMENT.match, part.words)) for part in split_command(command)]
    return [words for words in parts if words]


def find_replacement(
    problem: str, what: str, command: str, later: Sequence[str], folder: str
) -> tuple[str, str] | None:
    """Return what failed, and what worked in its place soon after; `""` where the rest worked without it.

    Args:
        problem: Why it failed: `not_found`, `option`, `task` or `module`.
        what: The program, option, task or module that is not there.
        command: The command that failed.
        later: The commands that worked soon after.
        folder: The folder of the repository, with a slash at its end.

    >>> find_replacement("not_found", "pytest", "pytest -q tests", ["ls", "uv run pytest -q tests"], "/w/")
    ('pytest', 'uv run pytest')
    """
    parts = split_parts(command)
    bad = next((words for words in parts if _names(problem, words, what)), None)
    if bad is None and problem == "module":
        # A script that imports what another interpreter has.
        bad = next((words for words in parts if words[0].startswith("python")), None)
    if bad is None:
        return None
    # What is right of the thing that is missing stays as it is.
    place = next((n for n, word in enumerate(bad, 1) if word.startswith(what)), 1) if problem != "not_found" else 1
    kind, rest = classify(bad), bad[place:]
    for good in (words for other in later for words in split_parts(other) if words != bad):
        if problem == "not_found" and bad[-len(good) :] == good:
            return what, ""
        if problem in ("not_found", "module"):
            if not rest or good[-len(rest) :] != rest or (what in bad and problem == "module" and what not in good):
                continue
            start = [word.removeprefix(folder) for word in good[: -len(rest)]]
            if start != bad[:place] and not any(word.startswith(("/", "~", "..")) for word in start):
                return shlex.join(bad[:place]), shlex.join(start)
        elif not (good[0] == bad[0] and what in good) and (kind is None or classify(good) == kind):
            alike = (
                SequenceMatcher(None, bad, good).ratio()
                if problem == "option"
                else max(SequenceMatcher(None, what, word).ratio() for word in good)
            )
            if alike > 0.6 or (problem == "task" and kind is not None):
                return shlex.join(bad), shlex.join(good)
    return None


def _names(problem: str, words: Sequence[str], what: str) -> bool:
    if problem == "not_found":
        return words[0] == what
    return any(word == what or (problem == "option" and word.startswith(f"{what}=")) for word in words)


_PROGRAMS_AT = re.compile(r"(?:/usr/local|/opt|~|\$HOME)(?:/[\w.+-]+)*/bin")
"""Folders of programs that may be put on a PATH."""


def find_program_folder(program: str, command: str) -> str | None:
    """Return the folder of programs from which a command took a program: by its path, or by a PATH with the folder.

    >>> find_program_folder("go", "/usr/local/go/bin/go vet"), find_program_folder("go", "/tmp/bin/go vet")
    ('/usr/local/go/bin', None)
    """
    for found in _PROGRAMS_AT.finditer(command):
        before, after = command[: found.start()], command[found.end() :]
        called = re.search(r"(?:^|[\s;&|(\"'])$", before) and re.match(rf"/{re.escape(program)}(?![\w.-])", after)
        # A list of folders, then the program by its bare name.
        listed = re.search(r"\bPATH=[^\s;&|]*$", before) and re.match(r"(?=[:\s;&\"']|$)", after)
        if called or (listed and re.search(rf"[\s;&]{re.escape(program)}(?![\w./-])", after)):
            return None if ".." in found[0].split("/") else found[0]
    return None


def drop_files(words: Sequence[str]) -> list[str]:
    """Return the words of a command that name no file.

    >>> drop_files(["bunx", "biome", "check", "src/a.ts", "--write"])
    ['bunx', 'biome', 'check', '--write']
    """
    return [word for n, word in enumerate(words) if n == 0 or word.startswith("-") or not re.search(r"[/.]", word)]


def allow(command: str) -> str | None:
    """Return the rule that allows a command, if a fixed list calls it harmless and it is nothing but that command.

    >>> allow("git status --short"), allow("git status; rm -r x")
    ('Bash(git status:*)', None)
    """
    if _UNSAFE.search(command):
        return None
    parts = split_command(command)
    if len(parts) != 1:
        return None
    words = parts[0].words
    if not command.startswith(words[0]) or any(word.startswith(("/", "~")) or ".." in word for word in words[1:]):
        return None
    if words[0] in read_rules()["harmless"]["programs"]:
        return f"Bash({words[0]}:*)"
    if words[0] == "git" and len(words) > 1 and words[1] in read_rules()["harmless"]["git"]:
        return f"Bash(git {words[1]}:*)"
    return None
