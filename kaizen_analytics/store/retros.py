"""Retros and the bets they made, as JSON; what the JSON means is the business of `retro`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.store.cells import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.store.connection import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBet:
    """A bet of a stored retro, and that retro's window (milliseconds since the epoch, end excluded)."""

    retro_id: str
    bet_id: str
    window_start_ms: int
    window_end_ms: int
    bet: Mapping[str, Any]


def write_retro(
    store: Store,
    retro: Mapping[str, Any],
    bets: Sequence[Mapping[str, Any]],
    *,
    retro_id: str,
    workspace: str | None,
    window: tuple[int, int],
    computed_at_ms: int,
) -> None:
    """Store a retro and its bets in one transaction; a retro of the same id is replaced.

    Args:
        store: The open store.
        retro: The whole retro as a JSON object.
        bets: Its bets in order, each with an `id`.
        retro_id: One id for each window and scope.
        workspace: The scope; None for all workspaces.
        window: Start and end of the window in milliseconds, end excluded.
        computed_at_ms: When it was computed.
    """
    start_ms, end_ms = window
    with store.write():
        store.native(
            "insert into ka_retros (id, workspace, window_start_ms, window_end_ms, computed_at_ms, retro) "
            "values (?, ?, ?, ?, ?, ?) on conflict (id) do update set computed_at_ms = excluded.computed_at_ms, "
            "retro = excluded.retro returning 1",
            retro_id,
            workspace or "",
            start_ms,
            end_ms,
            computed_at_ms,
            _dump(retro),
        )
        store.native("delete from ka_bets where retro_id = ? returning 1", retro_id)
        for position, bet in enumerate(bets, start=1):
            store.native(
                "insert into ka_bets (retro_id, position, bet_id, bet) values (?, ?, ?, ?) returning 1",
                retro_id,
                position,
                str(bet["id"]),
                _dump(bet),
            )


def list_former_bets(store: Store, *, workspace: str | None, from_ms: int, before_ms: int) -> list[StoredBet]:
    """Return the bets of retros of the same scope whose window ended in (from_ms, before_ms], oldest first."""
    rows = store.native(
        f"{_BETS} where r.workspace = ? and r.window_end_ms > ? and r.window_end_ms <= ? {_ORDER}",
        workspace or "",
        from_ms,
        before_ms,
    )
    return [_stored(row) for row in rows]


def find_bets(store: Store, prefix: str) -> list[StoredBet]:
    """Return every bet whose id is `prefix` or begins with it, oldest first."""
    rows = store.native(f"{_BETS} where substr(b.bet_id, 1, length(?)) = ? {_ORDER}", prefix, prefix)
    return [_stored(row) for row in rows]


def load_retro(store: Store, retro_id: str) -> dict[str, Any] | None:
    """Return a stored retro, or None."""
    rows = store.native("select retro from ka_retros where id = ?", retro_id)
    return parse_json(rows[0][0], "ka_retros", retro_id) if rows else None


_BETS = (
    "select b.retro_id, b.bet_id, r.window_start_ms, r.window_end_ms, b.bet "
    "from ka_bets as b join ka_retros as r on r.id = b.retro_id"
)
_ORDER = "order by r.window_end_ms, r.id, b.position"


def _stored(row: Sequence[str | None]) -> StoredBet:
    retro_id, bet_id, start_ms, end_ms, bet = (value or "" for value in row)
    return StoredBet(
        retro_id=retro_id,
        bet_id=bet_id,
        window_start_ms=int(start_ms),
        window_end_ms=int(end_ms),
        bet=parse_json(bet, "ka_bets", bet_id),
    )


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
