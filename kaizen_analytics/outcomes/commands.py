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
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1[^\n]*\n.*?(?:\n[ \t]*\2(?=[\s)]|$)|\Z)", re.DOTALL)
_ASSIGNMENT = re.compile(r"(?:\$env:)?\w+=")
_SUFFIX = re.compile(r"(?<=\w)(?:@[\w.^~-]+|\.(?:exe|cmd|bat|js))$")
_BOTH_TO_FILE = re.compile(r"(?<!&)&>>?")
_PATH = re.compile(r"(?<=[\w.])\\(?=\w)")
_SEPARATORS = ("&&", "||", ";", "\n", "&", "|", "|&")
_GROUPS = ("(", ")", "{", "}")
_SHELLS = ("bash", "sh", "zsh", "dash", "powershell", "pwsh", "cmd")
_SCRIPT_OPTION = re.compile(r"-\w*c|-command|/c", re.IGNORECASE)
_KEYWORDS = ("!", "if", "then", "elif", "else", "while", "until", "do")
_UNKNOWN_AFTER = ("||", *_KEYWORDS)
"""Behind these, the exit status of a check does not become that of the command."""
_EXIT = re.compile(r"false|(?:exit|return)(?: [1-9]\d*| \$\?)?")
"""What makes the whole command fail behind `||`."""
_FILTERS = ("head", "grep", "rg", "awk", "sed", "cut", "wc", "sort", "uniq", "jq", "Select-String")
_NESTED = 3
_OPENINGS = (("gh", "pr", "create"), ("glab", "mr", "create"))
"""What opens a pull request."""


class _CommandFacts(NamedTuple):
    """What one shell command was for."""

    check: str | None = None
    """`test`, `build`, `types` or `lint`: the strongest check among its parts."""
    passed: bool | None = None
    """Whether every check of the command passed; None without a check, and where nothing says it."""
    commits: bool = False
    """Whether it makes a commit."""
    amends: bool = False
    """Whether one of its commits takes the place of the commit before."""
    opens_pull_request: bool = False


class _SimpleCommand(NamedTuple):
    """One simple command: its words, what stands before and after it, and what its output goes through."""

    words: tuple[str, ...]
    before: str
    after: str
    piped: tuple[str, ...] = ()


class _CheckRules(NamedTuple):
    """The rules of `checks.toml`; patterns of words by kind and first word, in the order test, build, lint, types.

    `digest` changes with the rules and with the version of this package.
    """

    tools: Mapping[str, Mapping[str, tuple[tuple[str, ...], ...]]]
    tasks: Mapping[str, frozenset[str]]
    runners: Mapping[str, tuple[tuple[str, ...], ...]]
    several: frozenset[str]
    wrappers: Mapping[str, tuple[tuple[str, ...], ...]]
    into: Mapping[str, tuple[tuple[str, ...], ...]]
    idle: frozenset[str]
    harmless: frozenset[str]
    digest: str
    kinds: tuple[str, ...] = ("test", "build", "types", "lint")


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
        runners=by_program(patterns(document["runners"]["commands"])),
        several=frozenset(document["runners"]["several"]),
        wrappers=by_program(patterns(document["wrappers"]["commands"])),
        into=by_program(patterns(document["wrappers"]["into"])),
        idle=frozenset(document["idle"]["options"]),
        harmless=frozenset(document["harmless"]["commands"]),
        digest=hashlib.sha256(f"{__version__} {text}".encode()).hexdigest()[:12],
    )


@cache
def _telling() -> re.Pattern[str]:
    """Return what finds a word without which a command is no check, no commit and opens no pull request."""
    rules = read_rules()
    words = {
        "commit",
        "create",
        "py",
        *rules.runners,
        *(program for tools in rules.tools.values() for program in tools),
    }
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})(?![A-Za-z])")


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
    if not _telling().search(command):
        return _CommandFacts()
    parts = split_command(command)
    kinds = {part: classify(part.words) for part in parts}
    checks = [part for part in parts if kinds[part]]
    found = {kinds[part] for part in checks}
    started = [inner for part in parts for inner in _unwrap(part.words)]
    commits = [inner for inner in started if _begins(inner, ("git", "commit"))]
    verdicts = [_judge(part, _read_status(part, parts, kinds, failed=failed), says) for part in checks]
    return _CommandFacts(
        check=next((kind for kind in read_rules().kinds if kind in found), None),
        passed=False if False in verdicts else None if None in verdicts or not verdicts else True,
        commits=bool(commits),
        amends=any("--amend" in words for words in commits),
        opens_pull_request=any(_begins(inner, opening) for inner in started for opening in _OPENINGS),
    )


def classify(words: Sequence[str]) -> str | None:
    """Return what a simple command checks: `test`, `build`, `lint`, `types`, or None for any other command.

    >>> classify(["timeout", "30", "npm", "run", "test:unit"])
    'test'
    >>> classify(["cat", "test.py"]) is None
    True
    """
    return next((kind for inner in _unwrap(words) if (kind := _classify_inner(inner))), None)


def _classify_inner(inner: tuple[str, ...]) -> str | None:
    rules = read_rules()
    if rules.idle & {*inner, " ".join(inner[:2])}:
        return None
    goals = [word.rpartition(":")[2] for word in inner[1:] if not word.startswith("-")]
    commands: list[tuple[str, ...]] = [(inner[0], goal) for goal in goals] if inner[0] in rules.several else []
    for kind in rules.kinds:
        if any(_begins(one, tool) for one in (inner, *commands) for tool in rules.tools[kind].get(inner[0], ())):
            return kind
    runner = next((runner for runner in rules.runners.get(inner[0], ()) if _begins(inner, runner)), ())
    tasks = [rest[0] for one in (commands or [inner]) for rest in _rests(one, runner) if rest] if runner else []
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
        while words and words[0] in _KEYWORDS:
            before, words = words[0], words[1:]
        if words:
            groups.append((before, words, word))
        before, words = (word if words or word != "\n" else before), []
    groups = _without_exits(groups, is_subshell="(" in command)
    for place, (before, words, after) in enumerate(groups):
        piped: list[str] = []
        end = after
        for _, later, then in groups[place + 1 :]:
            if end not in ("|", "|&"):
                break
            piped.append(later[0])
            end = then
        script = _script_of(words)
        if script is None or not depth:
            yield _SimpleCommand(tuple(words), before, end if piped else after, tuple(piped))
            continue
        inner = [part._replace(piped=(*part.piped, *piped)) for part in _split(script, depth - 1)]
        for number, part in enumerate(inner):
            first, last = number == 0, number == len(inner) - 1
            yield part._replace(before=before if first else part.before, after=end if last else part.after)


def _without_exits(
    groups: Sequence[tuple[str, list[str], str]], *, is_subshell: bool
) -> list[tuple[str, list[str], str]]:
    """Write `a || exit 1; b` as `a && b`: where `a` fails, so does the whole, or else its subshell."""
    kept: list[tuple[str, list[str], str]] = []
    for before, words, after in groups:
        if kept and before == "||" and _EXIT.fullmatch(" ".join(words)):
            kept[-1] = (*kept[-1][:2], after if is_subshell or words[0] == "false" else "&&")
        else:
            kept.append((before, words, after))
    return kept


def _tokens(command: str) -> list[str]:
    lexer = shlex.shlex(_PATH.sub("/", _BOTH_TO_FILE.sub(">", command)), posix=True, punctuation_chars="&|;\n()")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = "#"
    tokens: list[str] = []
    try:
        for token in lexer:
            tokens += [token] if token.strip("&|;\n()") else re.findall(r"&&|\|\||\|&|[;\n&|()]", token)
    except ValueError:  # an open quotation mark: the transcript keeps the beginning of a long command only
        pass
    return _without_redirections(_without_groups(_with_plain_exits(_with_lost_status(tokens))))


def _with_lost_status(tokens: Sequence[str]) -> list[str]:
    """Write `echo $(a)` as `echo $(! a)`: its status is lost, unless what is substituted is all of an assignment."""
    kept: list[str] = []
    for word in tokens:
        kept.append(word)
        if word == "(" and kept[-2:-1] and kept[-2].endswith("$"):
            before = kept[-3] if kept[-3:-2] else ";"
            if before not in _SEPARATORS or not _ASSIGNMENT.fullmatch(kept[-2][:-1]):
                kept.append("!")
    return kept


def _with_plain_exits(tokens: Sequence[str]) -> list[str]:
    """Write `a || { echo no; exit 1; }` as `a || exit 1`, and `a || (echo no; exit 1)` as `a || false`."""
    kept: list[str] = []
    end = 0
    for place, word in enumerate(tokens):
        if place < end:
            continue
        if kept[-1:] == ["||"] and word in ("{", "("):
            end = next((at for at, one in enumerate(tokens[place + 1 :], place + 1) if one in _GROUPS), place)
            parts = " ".join("\0" if one in (";", "\n", "&&") else one for one in tokens[place + 1 : end])
            last = parts.rstrip(" \0").rpartition("\0 ")[2]
            if tokens[end] in ("}", ")") and _EXIT.fullmatch(last):
                kept.append("false" if word == "(" else "exit")
                end += 1
                continue
            end = place
        kept.append(word)
    return kept


def _without_groups(tokens: Sequence[str]) -> list[str]:
    """Write `(a; b) | c` and `{ a; b; } | c` as `a; b | c`: what follows a group follows its last command."""
    kept: list[str] = []
    closes = False
    for token in reversed(tokens):
        follows = bool(kept) and kept[-1] in _SEPARATORS
        if token not in _GROUPS:
            if not (follows and token in (";", "\n") and closes):
                kept.append(token)
        elif not (token in (")", "}") and follows):
            kept.append(";")
        closes = token in (")", "}")
    return kept[::-1]


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
    shell = _name(words[0])
    options = [place for place, word in enumerate(words) if _SCRIPT_OPTION.fullmatch(word)] if shell in _SHELLS else []
    rest = words[options[0] + 1 :] if options else []
    return (" ".join(rest) if shell in _SHELLS[4:] else rest[0]) if rest else None


def _unwrap(words: Sequence[str], depth: int = _NESTED) -> Iterator[tuple[str, ...]]:
    """Yield a command, then what it starts where it only starts another one, without assignments."""
    rest = _without_assignments(words)
    if not rest:
        return
    rest = (_name(rest[0]), *rest[1:])
    yield rest
    rules = read_rules()
    if not depth or (rest[0] == "python" and any(_begins(rest, tool) for tool in _python_tools())):
        return
    for wrapper in (*rules.wrappers.get(rest[0], ()), *rules.into.get(rest[0], ())):
        for inner in dict.fromkeys(_behind(rest, wrapper, has_values=one) for one in (False, True)):
            skipped = inner[1:] if wrapper in rules.into.get(rest[0], ()) else inner
            yield from _unwrap(skipped, depth - 1)


def _behind(words: tuple[str, ...], wrapper: Sequence[str], *, has_values: bool) -> tuple[str, ...]:
    """Return what a wrapper starts, options between and behind its words left out, with or without their values."""
    rest = words
    for word in wrapper:
        while rest and rest[0] != word and rest[0].startswith("-"):
            rest = rest[2 if has_values and rest[1:2] != (word,) and "=" not in rest[0] else 1 :]
        if rest[:1] != (word,):
            return ()
        rest = rest[1:]
    while rest and (rest[0].startswith("-") or re.fullmatch(r"[\d.]+[smhd]?", rest[0])):
        rest = rest[2 if has_values and rest[0].startswith("-") and "=" not in rest[0] else 1 :]
    return rest


def _name(word: str) -> str:
    """Return a program without its folder, version and suffix."""
    name = _SUFFIX.sub("", word.rpartition("/")[2])
    return "python" if re.fullmatch(r"py|python[\d.]*", name) else name


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
    place = parts.index(part)
    after = (part, *parts[place + 1 + len(part.piped) :])
    settings = " ".join(word for other in parts[:place] if other.words[0] == "set" for word in other.words[1:])
    if failed is None or part.before in _UNKNOWN_AFTER or parts[-1].after == "&":
        return None
    is_strict = not failed and bool(re.search(r"(?:^| )-[a-z]*e", settings))
    if part.piped and (failed or "pipefail" not in settings):
        return None
    if any(other.after not in (("&&", ";", "\n") if is_strict else ("&&",)) for other in after[:-1]):
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
