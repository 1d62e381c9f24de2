"""What the name beside a value promises: a password, a secret, perhaps a key, or nothing."""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache

from kaizen_analytics.redact.vocabulary import (
    HARMLESS_ENDS,
    HARMLESS_QUALIFIERS,
    KEY_QUALIFIERS,
    PASSWORD_WORDS,
    SECRET_WORDS,
    VENDORS,
)


class Promise(Enum):
    """How much a name says about its value."""

    NOTHING = auto()
    PASSWORD = auto()
    SECRET = auto()
    WEAK = auto()  # a bare "key" or "auth": believe only a random value


_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_QUALIFIERS = KEY_QUALIFIERS | {vendor.decode() for vendor in VENDORS}
_IDENTIFYING = {("secret", "id"), ("session", "id"), ("sess", "id")}


@lru_cache(maxsize=16384)
def judge_name(name: bytes) -> Promise:
    """Return what an identifier such as `DB_PASSWORD`, `apiKey` or `max_tokens` promises about its value.

    >>> judge_name(b"DB_PASSWORD").name, judge_name(b"max_tokens").name
    ('PASSWORD', 'NOTHING')
    """
    words = [word.lower() for word in _SPLIT.findall(name.decode("latin-1")) if not word.isdigit()]
    if not words or _is_random(name):
        return Promise.NOTHING
    if tuple(words[-2:]) in _IDENTIFYING or words[-1] in {"sessionid", "phpsessid", "jsessionid", "sid", "sessid"}:
        return Promise.SECRET
    if words[-1] in HARMLESS_ENDS and words[-2:] != ["pass", "phrase"]:
        return Promise.NOTHING
    return _judge_words(words)


def _is_random(name: bytes) -> bool:
    """Whether a name is an id rather than words; random letters hold `pw` or `key` by chance."""
    return len(name) >= 20 and sum(48 <= byte <= 57 for byte in name) >= 3


def _judge_words(words: list[str]) -> Promise:
    before = set(words[:-1])
    last = words[-1]
    if any(word in PASSWORD_WORDS or word.endswith(("password", "passwd", "passphrase")) for word in words):
        return Promise.PASSWORD
    if "secret" in words or "secrets" in words or last.endswith("secret"):
        return Promise.SECRET
    if last in {"token", "tokens"}:
        return Promise.NOTHING if before & HARMLESS_QUALIFIERS or last == "tokens" else Promise.SECRET
    if any(word in SECRET_WORDS for word in words):
        return Promise.SECRET if not before & HARMLESS_QUALIFIERS else Promise.WEAK
    if (
        last in {"key", "keys", "auth", "signature", "sig", "seed", "salt", "data", "base", "pem", "pin"}
        or "key" in words
    ):
        return _judge_key(before, words)
    return Promise.NOTHING


def _judge_key(before: set[str], words: list[str]) -> Promise:
    if before & HARMLESS_QUALIFIERS:
        return Promise.NOTHING
    if before & _QUALIFIERS and ("key" in words or "keys" in words):
        return Promise.SECRET
    return Promise.WEAK
