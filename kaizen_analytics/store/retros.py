"""Retros and their findings, as JSON; what the JSON means is the business of `retro`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.store.sql import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kaizen_analytics.store.connection import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFinding:
    """A finding of an earlier retro. `made_ms` is the end of the first window that had it, `finding` its JSON."""

    id: str
    finding: str
    made_ms: int
    declined_ms: int | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormerBet:
    """What a retro of a former version proposed, in the week that ended at `window_end_ms`; kept to be read."""

    id: str
    title: str
    window_start_ms: int
    window_end_ms: int


def write_retro(
    store: Store,
    retro: Mapping[str, Any],
    findings: Mapping[str, str],
    *,
    retro_id: str,
    workspace: str | None,
    window: tuple[int, int],
    computed_at_ms: int,
) -> None:
    """Store a retro and its findings in one transaction; a retro of the same id is replaced.

    Args:
        findings: Each finding's JSON, by id; the latest version stays.
        retro_id: One id for each window and scope.
        workspace: The scope; None for all repositories.
        window: Start and end of the window in milliseconds, end excluded.

    >>> write_retro(writable, {}, {"f": "{}"}, retro_id="r", workspace=None, window=(0, 1), computed_at_ms=1)
    >>> [found.id for found in list_findings(writable)]
    ['f']
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
            json.dumps(retro, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
        )
        for finding_id, finding in findings.items():
            store.native(
                "insert into ka_findings (id, finding, made_ms) values (?, ?, ?) on conflict (id) do update set "
                "finding = excluded.finding, made_ms = min(made_ms, excluded.made_ms) returning 1",
                finding_id,
                finding,
                end_ms,
            )


def list_findings(store: Store) -> tuple[StoredFinding, ...]:
    """Return the findings of earlier retros, by id.

    >>> list_findings(store)
    ()
    """
    rows = store.rows("select id, finding, made_ms, declined_ms, reason from ka_findings order by id")
    return tuple(StoredFinding(**row) for row in rows)


def find_finding(store: Store, prefix: str) -> StoredFinding:
    """Return the finding with this id, or the only one whose id begins with it.

    Raises:
        ConfigError: there is none, or there are several.

    >>> find_finding(store, "wrong")
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: No stored finding has the id 'wrong'. ...
    """
    known = list_findings(store)
    found = [item for item in known if item.id == prefix] or [item for item in known if item.id.startswith(prefix)]
    if len(found) == 1 and prefix:
        return found[0]
    if not found or not prefix:
        hint = did_you_mean(prefix, [item.id for item in known])
        raise ConfigError(
            f"No stored finding has the id {prefix!r}.{hint} 'kaizen-analytics retro' finds and stores them; their ids "
            "are in its output."
        )
    raise ConfigError(f"{prefix!r} is the beginning of several findings: {', '.join(item.id for item in found)}.")


def decline_finding(store: Store, finding_id: str, reason: str, *, now_ms: int) -> None:
    """Note that a finding is not to be acted on, and why.

    >>> decline_finding(writable, "f", "not here", now_ms=0)
    """
    with store.write():
        store.native(
            "update ka_findings set declined_ms = ?, reason = ? where id = ? returning 1", now_ms, reason, finding_id
        )


def write_exposures(store: Store, experiment_id: str, hits: Mapping[str, bool]) -> None:
    """Note which sessions could have shown the finding of an experiment, and whether each did.

    >>> write_exposures(writable, "e", {"s": True, "t": False})
    >>> writable.native("select session_id, hit from ka_exposures where experiment_id = 'e' order by session_id")
    [('s', '1'), ('t', '0')]
    """
    store.native(
        "insert into ka_exposures (experiment_id, session_id, hit) select ?, key, value from json_each(?) where true "
        "on conflict (experiment_id, session_id) do update set hit = excluded.hit returning 1",
        experiment_id,
        json.dumps(hits, ensure_ascii=False),
    )


def list_former_bets(store: Store, *, from_ms: int, before_ms: int) -> tuple[FormerBet, ...]:
    """Return what retros of former versions proposed for windows that ended in (from_ms, before_ms], oldest first.

    >>> list_former_bets(store, from_ms=0, before_ms=1)
    ()
    """
    rows = store.native(
        "select b.bet_id, b.bet, r.window_start_ms, r.window_end_ms from ka_bets as b join ka_retros as r "
        "on r.id = b.retro_id where r.window_end_ms > ? and r.window_end_ms <= ? "
        "order by r.window_end_ms, r.id, b.position",
        from_ms,
        before_ms,
    )
    return tuple(
        FormerBet(
            id=str(name),
            title=str(parse_json(bet or "", "ka_bets", str(name)).get("title", name)),
            window_start_ms=int(start or 0),
            window_end_ms=int(end or 0),
        )
        for name, bet, start, end in rows
    )
