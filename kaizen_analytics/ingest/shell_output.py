"""What the output of a shell command says about the work, read while the transcript is at hand.

A store keeps no output. It keeps whether a check reported success or failure, the commits that git made, and the pull
request that was opened. Which commands are checks is decided later, by `outcomes.commands`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from kaizen_analytics.ingest.records import Json

SHELL_TOOLS = frozenset({
    "Bash", "bash", "shell", "local_shell", "shell_command", "exec_command", "container.exec", "run_terminal_cmd",
    "run_terminal_command_v2", "Shell",
    "PowerShell",
})  # fmt: skip
"""The names that Claude Code, Codex and Cursor give to the tool that runs a command."""

_END = 4_000
"""Characters at the end of an output in which a summary is looked for."""

# Each pattern stands behind texts of which one must be there: looking for all texts at once is much faster. A text
# that begins a line is written with the line end before it.
_Guarded = tuple[tuple[frozenset[str], re.Pattern[str]], ...]


def _guarded(*pairs: tuple[tuple[str, ...], str]) -> _Guarded:
    return tuple((frozenset(texts), re.compile(pattern, re.MULTILINE)) for texts, pattern in pairs)


_FAILED = _guarded(
    (
        (" failed", " failing", " failure", " error"),
        r"[1-9](?<=\b[1-9])\d* (?:tests? )?(?:failed|failing|failures?|errors?)\b",
    ),
    (("FAIL", "not ok"), r"^\s*(?:FAIL|FAILED|--- FAIL|not ok)\b|test result: FAILED|BUILD FAIL(?:ED|URE)"),
    (("\nerror",), r"^error(?:\[\w+\])?: "),
    ((" fail ", "Failures: ", "Failed: ", "Errors: "), r"^\S fail [1-9]|\b(?:Failures|Failed|Errors): +[1-9]"),
    ((": *** ",), r"^make(?:\[\d+\])?: \*\*\* "),
    (("tests FAILED:",), ""),
    (("\nnpm ERR! Test failed", "\nnpm ERR! Lifecycle", "\nnpm error Test failed", "\nnpm error Lifecycle"), ""),
    (("error TS",), r"error TS\d+:"),
)
_PASSED = _guarded(
    ((" pass",), r"[1-9](?<=\b[1-9])\d* (?:tests? )?(?:passed|passing|pass)\b|^\S pass [1-9]"),
    ((", 0 failures", "Passed: "), r"^[1-9]\d* (?:examples?|runs|tests), .*\b0 failures|\bPassed: +[1-9]"),
    (("test result: ok", "All checks passed", "no issues found", "BUILD SUCCESS"), ""),
    (
        (" tests passed, 0 tests failed out of ", ", Failures: 0, Errors: 0"),
        r" out of |\bTests run: [1-9]\d*, Failures: 0,",
    ),
    (("\nok",), r"^ok\s+\S+\s+(?:\d+\.\d+s|\(cached\))"),
    (("\nPASS\n",), ""),
    (("\nOK",), r"^OK(?: \(.*\))?$"),
    (("\n0 issues", "\n0 error"), r"^0 issues\.?$|^0 errors?\b"),
)
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_COMMIT = re.compile(r"^\[[^\]\n]+ (?:\(root-commit\) )?([0-9a-f]{7,40})\] ", re.MULTILINE)
_PULL_REQUEST = re.compile(r"^https://[\w.-]+/[\w./-]+/(?:pull|merge_requests)/\d+\s*$", re.MULTILINE)
_TEXTS = sorted({"\n[", "\nhttps://"}.union(*(texts for texts, _ in (*_FAILED, *_PASSED))))
_FINDER = BytesAhoCorasick([text.encode() for text in _TEXTS])
"""Over bytes: for texts, the finder would count the characters before each place."""


def read_shell_output(text: str) -> Json:
    """Return what an output says: any of `says` (`passed` or `failed`), `commits` and `pull_request`.

    A failure wins over a success. `commits` are ids as git abbreviated them.

    >>> read_shell_output("== 2 failed, 5 passed in 0.4s ==")
    {'says': 'failed'}
    >>> read_shell_output("[main 1a2b3c4] Add a test")
    {'commits': ['1a2b3c4']}
    >>> read_shell_output("README.md")
    {}
    """
    end = f"\n{_COLOUR.sub('', text[-_END:])}\n"
    hits = {_TEXTS[hit] for hit, _, _ in _FINDER.find_matches_as_indexes(end.encode(), overlapping=True)}
    found: Json = {}
    if not hits:
        return found
    if _says(_FAILED, end, hits):
        found["says"] = "failed"
    elif _says(_PASSED, end, hits):
        found["says"] = "passed"
    if "\n[" in hits and (commits := _COMMIT.findall(end)):
        found["commits"] = commits
    if "\nhttps://" in hits and (request := _PULL_REQUEST.search(end)):
        found["pull_request"] = request[0].strip()
    return found


def _says(guarded: _Guarded, end: str, hits: set[str]) -> bool:
    return any(not texts.isdisjoint(hits) and pattern.search(end) for texts, pattern in guarded)
