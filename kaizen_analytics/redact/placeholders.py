"""What stands in place of a redacted value, chosen so that no rule can match it again.

A placeholder is `<R:cc>` for a secret and `<R:cc:hhhhhhhhhh>` for an identity: `cc` is the two-letter code of a
`Category`, `h` the first ten hex digits of a keyed pseudonym. Neither form holds a word that a rule looks for.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Category(StrEnum):
    """What a redacted value is; the values are the two-letter codes inside placeholders."""

    TOKEN = "t1"  # noqa: S105 - a code; a vendor's own token format
    GENERIC = "t2"  # prefix and random tail, vendor unknown
    JWT = "jw"
    PEM = "pm"  # private key blocks
    HASH = "ph"  # stored password hashes
    URL = "uc"  # user information inside a URL
    HEADER = "ah"  # HTTP authentication headers
    QUERY = "qv"  # query parameters
    COOKIE = "ck"
    COMMAND = "cp"  # arguments of commands
    ASSIGNMENT = "kv"  # a value next to a telling name
    ENCODED = "en"  # base64 or hex text that holds any of these
    EMAIL = "em"
    USER = "us"
    NAME = "nm"
    HOST = "ho"
    ORGANISATION = "og"
    ADDRESS = "ip"
    MAC = "mc"
    PERSONAL = "pd"  # a telephone number, card, account or national number


IDENTITIES = frozenset(
    {
        Category.EMAIL,
        Category.USER,
        Category.NAME,
        Category.HOST,
        Category.ORGANISATION,
        Category.ADDRESS,
        Category.MAC,
        Category.PERSONAL,
    },
)
"""Categories that keep a pseudonym, so that equal values stay equal."""

PLACEHOLDER_START = b"<R:"
PLACEHOLDER = re.compile(rb"<R:(?:" + "|".join(Category).encode() + rb")(?::[0-9a-f]{10})?>")


def render_placeholder(category: Category, pseudonym: str | None) -> bytes:
    """Return the bytes that replace a value of `category`.

    >>> render_placeholder(Category.USER, "0123456789")
    b'<R:us:0123456789>'
    """
    return f"<R:{category}:{pseudonym}>".encode() if pseudonym else f"<R:{category}>".encode()
