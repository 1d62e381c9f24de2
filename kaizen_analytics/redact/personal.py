"""Personal data that carries its own proof: payment cards, accounts, telephone and national numbers.

A check digit makes one of ten, of 97 or of a hundred random numbers of the right form pass, so each form is as narrow
as its issuer defines it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.redact.rules import load_rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from kaizen_analytics.redact.placeholders import Category

_LEAST_DIGITS = 6
_LONGEST = 24
_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WORD_BEFORE = _UPPER + _UPPER.lower() + _DIGITS + b"_.-%"


def _table(members: bytes) -> bytes:
    return bytes(byte in members for byte in range(256))


_IS_DIGIT, _IS_FIRST, _IS_SECOND = _table(_DIGITS), _table(_DIGITS + _UPPER + b"+("), _table(_UPPER + b" ")
_IS_WORD = _table(_WORD_BEFORE)


def find_personal(view: bytes) -> Iterator[tuple[int, int, Category, str]]:
    """Yield the ranges of cards, accounts, telephone and national numbers, their categories and rules.

    >>> [(start, end, rule) for start, end, _, rule in find_personal(b"IBAN DE89 3704 0044 0532 0130 00, thanks")]
    [(5, 32, 'iban')]
    """
    done = 0
    for start in _find_starts(view).tolist():
        if start < done or not _ANY.match(view, start):
            continue
        for rule in _RULES:
            match = rule.pattern.match(view, start)
            if match and (rule.check is None or rule.check(match)):
                done = match.end("value")
                yield (*match.span("value"), rule.category, rule.id)
                break


def _find_starts(view: bytes) -> NDArray[np.int64]:
    """Return where a number can begin: behind no other word, with enough digits to follow, and no ISO date."""
    size = len(view)
    if size < _LEAST_DIGITS:
        return np.empty(0, np.int64)
    # Translated bytes are 0 and 1, so they are flags without another copy.
    tables = (_IS_DIGIT, _IS_FIRST, _IS_WORD, _IS_SECOND)
    digits, first, word, second = (np.frombuffer(view.translate(table), np.bool_) for table in tables)
    starts = np.flatnonzero(first[1:] & ~word[:-1]) + 1
    starts = np.append(np.flatnonzero(first[:1]), starts)
    # Most capitals begin a word: in a number a digit, a capital or a blank follows.
    starts = starts[(digits | second)[np.minimum(starts + 1, size - 1)]]
    counts = np.concatenate(([0], np.cumsum(digits, dtype=np.int32)))
    starts = starts[counts[np.minimum(starts + _LONGEST, size)] - counts[starts] >= _LEAST_DIGITS]
    characters = np.frombuffer(view, np.uint8)
    dash = ord("-")
    years, months = np.minimum(starts + 4, size - 1), np.minimum(starts + 7, size - 1)
    dated: NDArray[np.bool_] = (characters[years] == dash) & (characters[months] == dash)
    return np.extract(~dated, starts)


def _number_groups(pattern: bytes, number: int) -> bytes:
    """Give the groups of a pattern names of their own, so that it can stand beside others."""
    return re.sub(rb"\(\?P([<=])(\w+)", rb"(?P\g<1>\g<2>%d" % number, pattern)


_RULES = tuple(rule for rule in load_rules("personal") if rule.form == "digits")
_ANY = re.compile(b"|".join(_number_groups(rule.pattern.pattern, number) for number, rule in enumerate(_RULES)))
"""All forms at once: one look where most numbers are none of them."""
