"""What a shell command of an agent was for: a check and whether it passed, a commit, a pull request.

The rules are data (`checks.toml`). Nothing is run and nothing is guessed: where neither the exit status nor the output
says whether a check passed, it is None.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from kaizen_analytics import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?(?:\n[ \t]*\2(?=[\s)]|$)|\Z)", re.DOTALL)
_ASSIGNMENT = re.compile(r"\w+=")
_SEPARATORS = ("&&", "||", ";", "\n", "&", "|", "|&")
_SHELLS = ("bash", "sh", "zsh", "dash")
_FILTERS = ("head", "grep", "rg", "awk", "sed", "cut", "wc", "sort", "uniq", "jq")
_NESTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _CommandFacts:
    """What one shell command was for."""

    check: str | None = None
    """`test`, `build`, `types` or `lint`: the strongest check among its parts."""
    passed: bool | None = None
    """Whether every check of the command passed; None without a check, and where nothing says it."""
    commits: bool = False
    """Whether it makes a commit."""
    opens_pull_request: bool = False


@dataclass(frozen=True, slots=True)
class _SimpleCommand:
    """One simple command: its words, what stands before and after it, and what its output goes through."""

    words: tuple[str, ...]
    before: str
    after: str
    piped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckRules:
    """The rules of `checks.toml`; patterns of words by kind and first word, in the order test, build, lint, types.

    `digest` changes with the rules and with the version of this package.
    """

    tools: Mapping[str, Mapping[str, tuple[tuple[str, ...], ...]]]
    tasks: Mapping[str, frozenset[str]]
    runners: tuple[tuple[str, ...], ...]
    wrappers: Mapping[str, tuple[tuple[str, ...], ...]]
    harmless: frozenset[str]
    digest: str
    kinds: tuple[str, ...] = field(default=("test", "build", "types", "lint"))


@cache
def read_rules() -> _CheckRules:
    """Return the rules of this installation.

    >>> read_rules().tools["test"]["go"]
    (('go', 'test'),)
    """
    text = files(__package__).joinpath("checks.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)

    def patterns(texts: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        return tuple(sorted((tuple(text.split()) for text in texts), key=len, reverse=True))

    def by_program(tools: Iterable[tuple[str, ...]]) -> dict[str, tuple[tuple[str, ...], ...]]:
        found: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
        for tool in tools:
            found[tool[0]].append(tool)
        return {program: tuple(these) for program, these in found.items()}

    return _CheckRules(
        tools={kind: by_program(patterns(texts)) for kind, texts in document["tools"].items()},
        tasks={kind: frozenset(names) for kind, names in document["tasks"].items()},
        runners=patterns(document["runners"]["commands"]),
        wrappers=by_program(patterns(document["wrappers"]["commands"])),
        harmless=frozenset(document["harmless"]["commands"]),
        digest=hashlib.sha256(f"{__version__} {text}".encode()).hexdigest()[:12],
    )


def read_command(command: str, *, failed: bool | None, says: str | None) -> _CommandFacts:
    """Return what a command was for, and whether its checks passed.

    Args:
        command: The shell command, as the agent gave it.
        failed: Whether it ended with an error; None where nobody recorded it.
        says: What its output said (`passed`, `failed`); None where it said neither.

    >>> facts = read_command("cd app && go test ./... 2>&1", failed=False, says=None)
    >>> facts.check, facts.passed
    ('test', True)
    >>> read_command("pytest -q | tail -1", failed=False, says="failed").passed
    False
    >>> read_command("git add . && git commit -m x", failed=False, says=None).commits
    True
    """
    parts = split_command(command)
    kinds = {part: classify(part.words) for part in parts}
    checks = [part for part in parts if kinds[part]]
    found = {kinds[part] for part in checks}
    verdicts = [_judge(part, _read_status(part, parts, kinds, failed=failed), says) for part in checks]
    return _CommandFacts(
        check=next((kind for kind in read_rules().kinds if kind in found), None),
        passed=False if False in verdicts else None if None in verdicts or not verdicts else True,
        commits=_runs(parts, ("git", "commit")),
        opens_pull_request=_runs(parts, ("gh", "pr", "create")) or _runs(parts, ("glab", "mr", "create")),
    )


def classify(words: Sequence[str]) -> str | None:
    """Return what a simple command checks: `test`, `build`, `lint`, `types`, or None for any other command.

    >>> classify(["timeout", "30", "npm", "run", "test:unit"])
    'test'
    >>> classify(["cat", "test.py"]) is None
    True
    """
    rules = read_rules()
    inner = _unwrap(words)
    if not inner:
        return None
    for kind in rules.kinds:
        if any(_begins(inner, pattern) for pattern in rules.tools[kind].get(inner[0], ())):
            return kind
    runner = next((runner for runner in rules.runners if _begins(inner, runner)), ())
    tasks = [rest[0] for rest in _rests(inner, runner) if rest] if runner else []
    return next((kind for kind in rules.kinds for name in tasks if _is_task(name, rules.tasks[kind])), None)


def split_command(command: str) -> tuple[_SimpleCommand, ...]:
    """Return the simple commands of a shell command, those inside `bash -c` too, without the bodies of here-documents.

    >>> [part.words for part in split_command("cd a && make test | tail -3")]
    [('cd', 'a'), ('make', 'test'), ('tail', '-3')]
    """
    return tuple(_split(_HEREDOC.sub(" ", command), _NESTED))


def _split(command: str, depth: int) -> Iterator[_SimpleCommand]:
    tokens = _tokens(command)
    groups: list[tuple[str, list[str], str]] = []
    before, words = ";", list[str]()
    for word in [*tokens, ";"]:
        if word not in _SEPARATORS:
            words.append(word)
            continue
        if words:
            groups.append((before, words, word))
        before, words = (word if words or word != "\n" else before), []
    for place, (before, words, after) in enumerate(groups):
        script = _script_of(words)
        if script is not None and depth:
            yield from _split(script, depth - 1)
            continue
        piped: list[str] = []
        end = after
        for _, later, then in groups[place + 1 :]:
            if end not in ("|", "|&"):
                break
            piped.append(later[0])
            end = then
        yield _SimpleCommand(tuple(words), before, end if piped else after, tuple(piped))


def _tokens(command: str) -> list[str]:
    lexer = shlex.shlex(command, posix=True, punctuation_chars="&|;\n()")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = "#"
    tokens: list[str] = []
    try:
        for token in lexer:
            parts = [token] if token.strip("&|;\n()") else re.findall(r"&&|\|\||\|&|[;\n&|()]", token)
            tokens += [";" if part in ("(", ")") else part for part in parts]
    except ValueError:  # an open quotation mark: the transcript keeps the beginning of a long command only
        pass
    return _without_redirections(tokens)


def _without_redirections(tokens: list[str]) -> list[str]:
    """Drop `2>&1`, which the lexer splits at `&`, and other redirections."""
    kept: list[str] = []
    skip = 0
    for place, token in enumerate(tokens):
        if skip:
            skip -= 1
        elif re.fullmatch(r"\d?>>?", token):
            following = tokens[place + 1 : place + 3]
            skip = 2 if following[:1] == ["&"] else 1
        elif not re.match(r"\d?[<>]", token):
            kept.append(token)
    return kept


def _script_of(words: Sequence[str]) -> str | None:
    """Return the script of `bash -c SCRIPT`."""
    if words[0].rpartition("/")[2] not in _SHELLS:
        return None
    options = [place for place, word in enumerate(words) if re.fullmatch(r"-\w*c", word)]
    return words[options[0] + 1] if options and options[0] + 1 < len(words) else None


def _unwrap(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the assignments and programs that only start it."""
    rest = _without_assignments(words)
    for _ in range(_NESTED):
        for wrapper in read_rules().wrappers.get(rest[0], ()) if rest else ():
            if rest[: len(wrapper)] == wrapper and not any(_begins(rest, tool) for tool in _python_tools()):
                rest = _without_assignments(rest[len(wrapper) :])
                while rest and (rest[0].startswith("-") or re.fullmatch(r"[\d.]+[smh]?", rest[0])):
                    rest = _without_assignments(rest[1:])
                break
        else:
            break
    if not rest:
        return ()
    name = rest[0].rpartition("/")[2]
    return ("python" if re.fullmatch(r"python[\d.]*", name) else name, *rest[1:])


@cache
def _python_tools() -> tuple[tuple[str, ...], ...]:
    return tuple(tool for tools in read_rules().tools.values() for tool in tools.get("python", ()))


def _without_assignments(words: Sequence[str]) -> tuple[str, ...]:
    rest = tuple(words)
    while rest and _ASSIGNMENT.match(rest[0]):
        rest = rest[1:]
    return rest


def _begins(words: Sequence[str], pattern: Sequence[str]) -> bool:
    return any(True for _ in _rests(words, pattern))


def _rests(words: Sequence[str], pattern: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield what follows the words of a pattern, options between them left out, with and without their values."""
    if not words or words[0] != pattern[0]:
        return
    if any(word.startswith("-") for word in pattern):
        positional = [word for word in words if not word.startswith("-") or word in pattern]
        if positional[1 : len(pattern)] == list(pattern[1:]):
            yield tuple(positional[len(pattern) :])
        return
    plain = [word for word in words if not word.startswith(("-", "+"))]
    valueless = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not word.startswith(("-", "+")) and (not before.startswith("-") or "=" in before)
    ]
    for candidate in (plain, valueless):
        if candidate[: len(pattern)] == list(pattern):
            yield tuple(candidate[len(pattern) :])


def _is_task(name: str, tasks: frozenset[str]) -> bool:
    return name in tasks or re.split(r"[:._-]", name, maxsplit=1)[0] in tasks or name.rpartition(":")[2] in tasks


def _judge(part: _SimpleCommand, status: bool | None, says: str | None) -> bool | None:  # noqa: FBT001
    if status is not None or says is None:
        return status
    if says == "failed":
        return False
    return None if set(part.piped) & set(_FILTERS) else True  # a filter may have hidden a failure


def _read_status(
    part: _SimpleCommand,
    parts: Sequence[_SimpleCommand],
    kinds: Mapping[_SimpleCommand, str | None],
    *,
    failed: bool | None,
) -> bool | None:
    """Return whether a check passed, where the exit status of the whole command is its own."""
    if failed is None or part.piped:
        return None
    place = parts.index(part)
    after = parts[place:]
    if part.before == "||" or any(other.after != "&&" for other in after[:-1]):
        return None
    if not failed:
        return True
    chain = [*after]
    for other in reversed(parts[:place]):
        if other.after != "&&":
            break
        chain.append(other)
    innocent = all(kinds[other] or other.words[0] in read_rules().harmless for other in chain)
    return False if innocent else None


def _runs(parts: Sequence[_SimpleCommand], pattern: tuple[str, ...]) -> bool:
    return any(_begins(_unwrap(part.words), pattern) for part in parts)
