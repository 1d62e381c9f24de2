-- purpose: all events of a few sessions, found by the index on session_id instead of a scan of the table.
-- grain: one row per event of the sessions in the JSON list $session_ids.
-- null: as in the table events. The macro ka_text is the store's: it replaces what is not UTF-8, if there is any.
select
    cast(session_id as varchar) as session_id,
    cast(seq as bigint) as seq,
    cast(ts_ms as bigint) as ts_ms,
    ka_text(cast(kind as varchar)) as kind,
    ka_text(cast(tool as varchar)) as tool,
    cast(tokens_in as bigint) as tokens_in,
    cast(tokens_out as bigint) as tokens_out,
    cast(cost_usd_e6 as bigint) as cost_usd_e6,
    ka_text(cast(payload as varchar)) as payload,
    cast(ts_exact as bigint) as ts_exact,
    cast(tool_call_id as varchar) as tool_call_id,
    cast(reasoning_tokens as bigint) as reasoning_tokens,
    cast(cache_creation_tokens as bigint) as cache_creation_tokens,
    cast(cache_read_tokens as bigint) as cache_read_tokens
from sqlite_query(
    'k',
    'select session_id, seq, ts_ms, kind, tool, tokens_in, tokens_out, cost_usd_e6, payload, ts_exact, tool_call_id, '
    || 'reasoning_tokens, cache_creation_tokens, cache_read_tokens from events '
    || 'where session_id in (select value from json_each(?))',
    params = row(cast($session_ids as varchar))
)
