"""What the store remembers of each transcript: how it looked when it was read, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.ingest.rows import insert_rows
from kaizen_analytics.store.sql import damaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kaizen_analytics.ingest.discover import Source
    from kaizen_analytics.store import Store

PARSER_VERSION = 10
"""Raise it when a parser reads the same bytes differently: every file is then read again."""


class Checkpoint(NamedTuple):
    """One row of `ka_files`.

    `session_id` is the session that the file is a part of; `stored_as` is the same where that session has rows, and
    None otherwise: a copy, or a file of another workspace. `tally` counts the whole session, on one of its files.
    """

    id: int
    path: str
    agent: str
    session_id: str
    stored_as: str | None
    size_bytes: int
    mtime_ns: int
    read_bytes: int
    prefix_hash: str
    parser: int
    last_ms: int
    n_lines: int
    rejects: dict[str, int]
    state: dict[str, Any]
    tally: dict[str, Any]

    def is_current(self, source: Source) -> bool:
        """Whether the file looks as it did when it was last read, by size and time alone."""
        seen = (self.size_bytes, self.mtime_ns, self.parser)
        return seen == (source.size_bytes, source.mtime_ns, PARSER_VERSION)


_COLUMNS = ", ".join(Checkpoint._fields)
_TEXTS = frozenset({"path", "agent", "session_id", "stored_as", "prefix_hash"})
_OBJECTS = frozenset({"rejects", "state", "tally"})
_NOTHING = "{}"


def _read_object(cell: str) -> dict[str, Any]:
    found = json.loads(cell) if cell != _NOTHING else {}  # most hold nothing, and there may be very many
    if type(found) is not dict:
        raise ValueError(f"{cell:.40} is no object")
    return found


_READ: list[Callable[[str], Any]] = [
    _read_object if name in _OBJECTS else str if name in _TEXTS else int for name in Checkpoint._fields
]
_PATH = Checkpoint._fields.index("path")


def load_checkpoints(store: Store) -> dict[str, Checkpoint]:
    """Return all checkpoints of a store, by path.

    >>> sorted({row.agent for row in load_checkpoints(store).values()})
    ['claude_code', 'codex', 'cursor']
    """
    return {row.path: row for row in _read(store.native(f"select {_COLUMNS} from ka_files"))}


def find_checkpoints(store: Store, *, paths: Iterable[str] = (), session_ids: Iterable[str] = ()) -> list[Checkpoint]:
    """Return the checkpoints of some paths and of every file that holds a part of some sessions.

    >>> find_checkpoints(store, paths=["/nowhere/a.jsonl"])
    []
    """
    return _read(
        store.native(
            f"select {_COLUMNS} from ka_files where path in (select value from json_each(?))"
            " or session_id in (select value from json_each(?))",
            json.dumps(list(paths)),
            json.dumps(list(session_ids)),
        )
    )


def _read(rows: list[tuple[str | None, ...]]) -> list[Checkpoint]:
    found = []
    for row in rows:
        try:
            cells: list[Any] = [None if cell is None else read(cell) for read, cell in zip(_READ, row, strict=True)]
        except (ValueError, RecursionError) as error:
            raise damaged("ka_files", str(row[_PATH]), f"a value that cannot be read ({error})") from error
        found.append(Checkpoint(*cells))
    return found


def save_checkpoints(store: Store, rows: Sequence[Checkpoint]) -> None:
    """Insert or update checkpoints, inside a `Store.write` block.

    >>> from kaizen_analytics.store import Store
    >>> row = Checkpoint(
    ...     id=1, path="/home/ada/a.jsonl", agent="codex", session_id="a", stored_as="a", size_bytes=9, mtime_ns=1,
    ...     read_bytes=9, prefix_hash="00000000", parser=1, last_ms=1, n_lines=1, rejects={}, state={}, tally={},
    ... )
    >>> with Store.open(tmp / "new.db", create=True) as made, made.write():
    ...     save_checkpoints(made, [row])
    ...     load_checkpoints(made)["/home/ada/a.jsonl"] == row
    True
    """
    ids = json.dumps([row.id for row in rows])
    store.native("delete from ka_files where id in (select value from json_each(?)) returning 1", ids)
    insert_rows(store, "ka_files", Checkpoint._fields, [tuple(map(_write_cell, row)) for row in rows])


def _write_cell(cell: object) -> object:
    return (json.dumps(cell) if cell else _NOTHING) if type(cell) is dict else cell
