-- purpose: what happened in one session, event by event.
-- grain: one row per event of the session, in its order.
-- null: a column that the event's kind does not have; payload stays the JSON text that was stored.
select
    seq,
    ts_ms,
    ts_exact,
    kind,
    tool,
    tool_call_id,
    tokens_in,
    cache_creation_tokens,
    cache_read_tokens,
    tokens_out,
    reasoning_tokens,
    cost_usd_e6,
    stop_reason,
    payload
from events
where session_id = $session_id
order by seq
