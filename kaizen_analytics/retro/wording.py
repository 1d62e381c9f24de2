"""Names and sentences of the store without names that are not public.

A sentence of a finding is the wording of its class with values of the store between backticks. What leaves is that
wording, and of the values those that anybody may see: files that git tracks in the repository at hand, models on the
price list, the tools and programs named below, and what the class itself puts between backticks. Every other value
becomes a pseudonym such as `name-3fa94b1c22.py` or `git name-0c8e7a1f55`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile

from kaizen_analytics.redact import Category, Redactor
from kaizen_analytics.retro.classes import OWN_SETTINGS, PUBLIC_CODE

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
_AGENTS = "claude_code codex cursor"
_PUBLIC = frozenset(f"{_AGENTS} {_TOOLS} {_PROGRAMS} {_SUBCOMMANDS} | && ; 2>&1".split())
_CODE = """
    c cc cpp cs css go h hpp html java js json jsx kt lua md mdc mjs php py rb rs scala sh sql swift toml ts tsx txt vue
    xml yaml yml
"""
_ENDINGS = frozenset(_CODE.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How the text of findings leaves: with pseudonyms, or `with_text`, where secrets and people are replaced only.

    `tracked` are the paths, relative to the repository's root, that git tracks.
    """

    redactor: Redactor
    with_text: bool = False
    tracked: frozenset[str] = field(default_factory=frozenset)

    def sentence(self, text: str) -> str:
        """Return one sentence of a finding."""
        if self.with_text:
            return self.redactor.redact(text)
        pieces = text.split("`")
        if len(pieces) % 2 == 0:
            return self._pseudonym(text)
        pieces[1::2] = [f"`{self.value(piece)}`" for piece in pieces[1::2]]
        return self.redactor.redact("".join(pieces))

    def value(self, text: str) -> str:
        """Return one value of the store: as it is where it is public, else its pseudonym."""
        return self.redactor.redact(text) if self.with_text else self._cover(text)

    def settings(self, text: str) -> str:
        """Return values for a settings file: as they are where only our own lists fill them, else a pseudonym."""
        return text if not text or json.loads(text).keys() <= OWN_SETTINGS else self.value(text)

    def session(self, identity: str) -> str:
        """Return the beginning of a session's id where it is random or a time, else a pseudonym."""
        return identity[:13] if self.with_text or _UUID.fullmatch(identity) else self._pseudonym(identity)

    def _cover(self, text: str) -> str:
        """Return what is public of a value: all of it, its first words, or its ending; a pseudonym for the rest."""
        if text in self.tracked or text in model_ids() or find_model_id(text) is not None or text in PUBLIC_CODE:
            return text
        words = text.split()
        shown = list(takewhile(_PUBLIC.__contains__, words))
        rest = " ".join(words[len(shown) :])
        return " ".join([*shown, *([self._pseudonym(rest)] if rest else [])])

    def _pseudonym(self, text: str) -> str:
        name = self.redactor.pseudonyms.name(Category.NAME, text.encode("utf-8", "surrogatepass"))
        _, dot, ending = text.rpartition(".")
        return f"name-{name}{dot + ending if ending in _ENDINGS else ''}"


_PROVIDERS = {"claude": "anthropic", "gpt": "openai", "codex": "openai", "o": "openai"}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@cache
def model_ids() -> frozenset[str]:
    """Return the names that the price list gives to the models it knows.

    >>> "claude-opus-4-5" in model_ids()
    True
    """
    from genai_prices import data_snapshot

    return frozenset(model.id for provider in data_snapshot.get_snapshot().providers for model in provider.models)


@cache
def find_model_id(model: str) -> str | None:
    """Return the price list's name of a model; None if it is not listed.

    >>> find_model_id("claude-opus-4-5-20251101")
    'claude-opus-4-5'
    """
    import genai_prices

    provider = next((name for prefix, name in _PROVIDERS.items() if model.startswith(prefix)), None)
    usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
    try:
        return genai_prices.calc_price(usage, model, provider_id=provider).model.id
    except LookupError:
        return None
