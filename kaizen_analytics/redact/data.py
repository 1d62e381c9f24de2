"""The word lists and patterns of the package, read from `rules/words.toml` and `rules/patterns.toml`."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

RULES = Path(__file__).with_name("rules")
NAME = re.compile(r"\{\{(\w+)\}\}")


@cache
def load_data(name: str) -> dict[str, Any]:
    """Return one file of `rules/`.

    >>> "vendors" in load_data("words")
    True
    """
    return tomllib.loads((RULES / f"{name}.toml").read_text("utf-8"))


def load_words(name: str) -> frozenset[str]:
    """Return a word list.

    >>> "github.com" in load_words("public_forges")
    True
    """
    return frozenset(load_data("words")[name].split())


def load_bytes(name: str) -> frozenset[bytes]:
    """Return a word list in UTF-8.

    >>> b"github.com" in load_bytes("public_forges")
    True
    """
    return frozenset(word.encode() for word in load_words(name))


def load_pattern(name: str) -> re.Pattern[bytes]:
    """Return a pattern of the engine, compiled.

    >>> load_pattern("bare").match(b"abcd efgh")["bare"]
    b'abcd'
    """
    return re.compile(_expand(name).encode())


def spell(keyword: str) -> list[str]:
    """Return a keyword as it is; one beyond ASCII in every case, because a search in bytes knows only that of ASCII.

    >>> spell("été")
    ['été', 'Été', 'ÉTÉ']
    """
    return [keyword] if keyword.isascii() else list(dict.fromkeys((keyword, keyword.capitalize(), keyword.upper())))


def _expand(name: str) -> str:
    entry = load_data("patterns")[name]
    text = entry if isinstance(entry, str) else "|".join(entry)
    return NAME.sub(lambda match: _expand(match[1]), text)
