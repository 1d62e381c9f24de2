-- purpose: every response of a model that reports its usage, in order.
-- grain: one row per response; position counts from 1 within a session and model.
-- null: a token column that the source leaves out.
-- reads: events (retro/relations/events.sql).
select
    session_id,
    seq,
    ts_ms,
    coalesce(model, 'unknown') as model,
    row_number() over (partition by session_id, coalesce(model, 'unknown') order by ts_ms, seq) as position,
    tokens_in,
    cache_creation_tokens,
    cache_read_tokens,
    tokens_out,
    reasoning_tokens,
    stop_reason,
    retry_count,
    context_used_tokens,
    context_max_tokens
from events
where
    kind = 'Message'
    and coalesce(tokens_in, cache_creation_tokens, cache_read_tokens, tokens_out, reasoning_tokens) is not null
