"""Which lines of a commit a session wrote, where git-ai has noted it (`refs/notes/ai`, authorship 3.0.0).

A note lists, for each file, keys with ranges of lines; below `---` stands JSON that gives the session of each key. A
key may have a part for one trace behind `::`. Keys of people, and lines that no key names, are nobody's here: they are
unknown. Notes are untrusted text: what does not have this form is left out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REFERENCE = "refs/notes/ai"
Claims = dict[bytes, list[tuple[int, int, str]]]
"""By file: first and last line, counted from 1, and the id of the session that wrote them."""

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")


def parse_note(note: bytes) -> Claims:
    r"""Return the lines of each file that a note gives to sessions.

    >>> parse_note(b'a.py\n  s_1::t_2 1-3,7\n---\n{"sessions": {"s_1": {"agent_id": {"id": "abc"}}}}')
    {b'a.py': [(1, 3, 'abc'), (7, 7, 'abc')]}
    >>> parse_note(b"no note of this form")
    {}
    """
    attested, found, document = note.decode("utf-8", "surrogateescape").partition("\n---\n")
    sessions = dict(_read_sessions(document)) if found else {}
    claims: Claims = {}
    path = b""
    for line in attested.splitlines() if sessions else ():
        if not line.startswith("  "):
            path = line.strip().strip('"').encode("utf-8", "surrogateescape")
            continue
        key, _, ranges = line.strip().partition(" ")
        session = sessions.get(key.partition("::")[0])
        if session is not None and path:
            claims.setdefault(path, []).extend((*span, session) for span in _read_ranges(ranges))
    return {path: lines for path, lines in claims.items() if lines}


def _read_sessions(document: str) -> Iterator[tuple[str, str]]:
    try:
        known = json.loads(document)
    except (ValueError, RecursionError):
        return
    for name in ("prompts", "sessions"):
        entries = known.get(name) if isinstance(known, dict) else None
        for key, entry in entries.items() if isinstance(entries, dict) else ():
            agent = entry.get("agent_id") if isinstance(entry, dict) else None
            session = agent.get("id") if isinstance(agent, dict) else None
            if isinstance(session, str):
                yield key, session


def _read_ranges(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        if match := _RANGE.fullmatch(part.strip()):
            first = int(match[1])
            yield first, int(match[2] or first)


def count_claimed(claims: Mapping[bytes, Iterable[tuple[int, int, str]]]) -> dict[str, int]:
    """Return how many lines of a commit each session wrote.

    >>> count_claimed({b"a": [(1, 3, "x"), (9, 9, "y")], b"b": [(1, 1, "x")]})
    {'x': 4, 'y': 1}
    """
    counts: dict[str, int] = {}
    for lines in claims.values():
        for first, last, session in lines:
            counts[session] = counts.get(session, 0) + max(last - first + 1, 0)
    return counts
