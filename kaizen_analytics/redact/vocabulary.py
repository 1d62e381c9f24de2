"""Word lists of `rules/words.toml`: what names promise, which accounts and organisations are nobody's secret."""

from __future__ import annotations

import tomllib
from pathlib import Path

_LISTS = tomllib.loads((Path(__file__).with_name("rules") / "words.toml").read_text("utf-8"))


def _words(name: str) -> frozenset[str]:
    return frozenset(_LISTS[name].split())


def _bytes(name: str) -> frozenset[bytes]:
    return frozenset(word.encode() for word in _words(name))


PASSWORD_WORDS = _words("password_words")
SECRET_WORDS = _words("secret_words")
KEY_QUALIFIERS = _words("key_qualifiers")
HARMLESS_QUALIFIERS = _words("harmless_qualifiers")
HARMLESS_ENDS = _words("harmless_ends")
VENDORS = _bytes("vendors")
ROLE_ACCOUNTS = _bytes("role_accounts")
PUBLIC_ORGANISATIONS = _bytes("public_organisations")
HOST_WORDS = _bytes("host_words")
MACHINE_AUTHORS = _bytes("machine_authors")
PUBLIC_FORGES = _bytes("public_forges")
