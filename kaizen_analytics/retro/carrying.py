"""What it costs to carry the texts of skills and of servers' tools: each later response reads them again.

A text stays in the context until it is compacted. Its first reader pays the price of writing it to the cache, every
later one that of reading it. A token is taken as four characters. The definitions of tools are in no transcript, so
they are not in these figures.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.queries import Query
from kaizen_analytics.retro.material import read_responses
from kaizen_analytics.usage import Chosen, known_sum

if TYPE_CHECKING:
    from kaizen_analytics.store import Store

KINDS = ("skill", "mcp_server")
"""What texts are carried of."""

_LOADS = Query(
    path="usage/loads.sql",
    schema={
        "session_id": pl.String(),
        "root_id": pl.String(),
        "seq": pl.Int64(),
        "ts_ms": pl.Int64(),
        "item": pl.String(),
        "chars": pl.Int64(),
    },
    reads=MappingProxyType({"session_roots": "staging/session_roots.sql", "tool_results": "staging/tool_results.sql"}),
)
"""Every text that a skill, or the tool of a server, put into a context."""

_CHARS_PER_TOKEN = 4


def compute_carried(store: Store, kind: str, chosen: Chosen) -> pl.DataFrame:
    """Return one row per skill or server, the dearest first.

    Columns: the kind, `uses` (texts loaded), `sessions`, `tokens` (of the texts, null where no size is recorded),
    `carried_tokens` (the same, times the responses that read them) and `cost_usd` (null without a price).

    Args:
        store: The open store.
        kind: One of `KINDS`.
        chosen: Which loads count.

    >>> from kaizen_analytics.usage import Chosen
    >>> compute_carried(store, "skill", Chosen()).columns
    ['skill', 'uses', 'sessions', 'tokens', 'carried_tokens', 'cost_usd']
    """
    loads = chosen.read(_LOADS, store, kind=kind)
    responses = read_responses(store, loads["session_id"].unique().to_list())
    carried = _carry(loads, responses)
    return (
        carried.group_by(pl.col("item").alias(kind))
        .agg(
            pl.len().cast(pl.Int64).alias("uses"),
            pl.col("root_id").n_unique().cast(pl.Int64).alias("sessions"),
            *(known_sum(name) for name in ("tokens", "carried_tokens", "cost_usd")),
        )
        .sort("cost_usd", "uses", kind, descending=[True, True, False], nulls_last=True)
    )


def _carry(loads: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Add to each load its tokens, those that responses read of it until the next compaction, and their dollars."""
    later = (
        responses.sort("session_id", "seq", descending=[False, True])
        .with_columns(
            pl.int_range(1, pl.len() + 1).over("session_id", "segment").alias("readers"),
            pl.col("read_usd").cum_sum().over("session_id", "segment").alias("reads_usd"),
        )
        .select(
            "session_id",
            "seq",
            "readers",
            first_usd=pl.coalesce("write_usd", "input_usd"),
            later_usd=pl.col("reads_usd") - pl.col("read_usd"),
        )
        .sort("seq")
    )
    found = loads.sort("seq").join_asof(
        later, on="seq", by="session_id", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    tokens = pl.col("chars") // _CHARS_PER_TOKEN
    return found.with_columns(
        tokens=tokens,
        carried_tokens=tokens * pl.col("readers").fill_null(0),
        cost_usd=pl.when(pl.col("readers").is_null())
        .then(0.0)
        .otherwise(tokens * (pl.col("first_usd") + pl.col("later_usd"))),
    )
