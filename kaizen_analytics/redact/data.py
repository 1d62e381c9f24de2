"""The word lists and patterns of the package, read from `rules/words.toml` and `rules/patterns.toml`; byte tables."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


@cache  # hundreds of rules share a handful of classes
def byte_table(members: bytes) -> NDArray[np.bool_]:
    """Return for each of the 256 bytes whether it is one of `members`; nobody may write into the table.

    >>> byte_table(b"ab")[list(b"abc")].tolist()
    [True, True, False]
    """
    table = np.isin(np.arange(256), list(members))
    table.flags.writeable = False
    return table


def _expand(name: str) -> str:
    entry = load_data("patterns")[name]
    text = entry if isinstance(entry, str) else "|".join(entry)
    return NAME.sub(lambda match: _expand(match[1]), text)
