"""A bet's sentences without names that nobody declared.

A sentence of a bet is the wording of its heuristic with values of the store between backticks. What leaves is that
wording, and of the values those that anybody may see: files that git tracks in the repository at hand, models on the
price list, and the tools and programs named below. Every other value becomes a stand-in such as `name-3fa94b1c22.py`
or `git name-0c8e7a1f55`. What stands outside backticks must be our own wording, word for word; a sentence of which it
is not is a stand-in whole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING

from kaizen_analytics.datasets.models import model_ids
from kaizen_analytics.queries import load_sql
from kaizen_analytics.redact.placeholders import Category
from kaizen_analytics.retro.bets import inflect
from kaizen_analytics.retro.heuristics import load_heuristics

if TYPE_CHECKING:
    from kaizen_analytics.redact import Redactor

_TOOLS = """
    Agent AskUserQuestion Bash BashOutput Edit EnterPlanMode ExitPlanMode Glob Grep LS MultiEdit NotebookEdit
    Read Skill Task TodoWrite ToolSearch WebFetch WebSearch Write apply_patch codebase_search edit_file
    exec_command file_search grep_search list_dir read_file run_terminal_cmd shell update_plan view_image
    web_search write_stdin
"""
_PROGRAMS = """
    awk bash bun cargo cat cd chmod clang cmake cp curl deno diff docker dotnet echo eslint find gcc gh git go
    gradle grep head helm java javac jest jq just kubectl ls make mise mkdir mocha mv mvn mypy node npm npx nix
    perl php pip playwright pnpm poetry prettier psql pwd pytest python python3 rg rm rspec ruby ruff rustc sed
    sh sleep sort sqlite3 swift tail tar task terraform timeout touch tsc uv vitest wc wget xargs yarn zsh
"""
_SUBCOMMANDS = """
    add api apply auth branch build check checkout clean clippy clone commit compose config deploy describe diff
    exec fetch fmt format get init install lint list log logs merge mod pr ps publish pull push rebase release
    reset restore rev-parse run show stash status switch sync tag test tool up upgrade vet view worktree
"""
_PUBLIC = frozenset(f"{_TOOLS} {_PROGRAMS} {_SUBCOMMANDS} | && ; 2>&1".split())
_CODE = """
    c cc cpp cs css go h hpp html java js json jsx kt lua md mdc mjs php py rb rs scala sh sql swift toml ts tsx txt vue
    xml yaml yml
"""
_ENDINGS = frozenset(_CODE.split())
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)  # a literal may hold two dashes too
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How the text of bets leaves: with stand-ins, or `with_text`, where secrets and people are replaced only.

    `tracked` are the paths, relative to the repository's root, that git tracks.
    """

    redactor: Redactor
    with_text: bool = False
    tracked: frozenset[str] = field(default_factory=frozenset)

    def sentence(self, text: str, heuristic: str) -> str:
        """Return one sentence of a bet."""
        if self.with_text:
            return self.redactor.redact(text)
        pieces = text.split("`")
        ours = own_words(heuristic)
        if len(pieces) % 2 == 0 or not all(_words(piece) <= ours for piece in pieces[::2]):
            return self._stand_in(text)
        pieces[1::2] = [f"`{self.value(piece)}`" for piece in pieces[1::2]]
        return self.redactor.redact("".join(pieces))

    def value(self, text: str) -> str:
        """Return one value of the store: as it is where it is public, else its stand-in."""
        return self.redactor.redact(text) if self.with_text else self._cover(text)

    def bet_id(self, identity: str) -> str:
        """Return a bet's id with the values in it replaced; `H36:pause` stays, because the word is ours."""
        if self.with_text:
            return self.redactor.redact(identity)
        heuristic, _, key = identity.partition(":")
        ours = own_words(heuristic)
        parts = [part if part in ours else self._cover(part) for part in key.split("|")]
        return f"{heuristic}:{'|'.join(parts)}"

    def session(self, identity: str) -> str:
        """Return the beginning of a session's id where it is random or a time, else a stand-in."""
        return identity[:13] if self.with_text or _UUID.fullmatch(identity) else self._stand_in(identity)

    def _cover(self, text: str) -> str:
        """Return what is public of a value: all of it, its first words, or its ending; a stand-in for the rest."""
        if text in self.tracked or text in model_ids():
            return text
        words = text.split()
        shown = list(takewhile(_PUBLIC.__contains__, words))
        rest = " ".join(words[len(shown) :])
        return " ".join([*shown, *([self._stand_in(rest)] if rest else [])])

    def _stand_in(self, text: str) -> str:
        name = self.redactor.pseudonyms.name(Category.NAME, text.encode("utf-8", "surrogatepass"))
        _, dot, ending = text.rpartition(".")
        return f"name-{name}{dot + ending if ending in _ENDINGS else ''}"


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@cache
def own_words(heuristic: str) -> frozenset[str]:
    """Return the words that the texts of one heuristic are made of; none for one that no longer exists."""
    queries = (load_sql(one.path) for one in load_heuristics() if one.id == heuristic)
    sql = _COMMENT.sub("", "\n".join(queries))
    literals = (text.replace("''", "'") for text in _LITERAL.findall(sql))
    words: set[str] = set()
    for text in literals:
        words |= _words(text) | _words(inflect(f"1 {text.strip()}")) | _words(inflect(f"2 {text.strip()}"))
    return frozenset(words)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))
