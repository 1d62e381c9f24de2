-- purpose: the staged events with a checksum of each row, as the columnar mirror reads them from the store.
-- grain: one row per event.
-- null: as in staging/events.sql; row_check is never null.
-- reads: staged_events (staging/events.sql).
select
    session_id,
    seq,
    ts_ms,
    ts_exact,
    kind,
    tool,
    tokens_in,
    tokens_out,
    reasoning_tokens,
    cache_creation_tokens,
    cache_read_tokens,
    cost_usd_e6,
    message_role,
    is_prompt,
    is_unreliable,
    is_error,
    -- The outer hash matters: the inner one mixes its last column in with a plain xor, and a sum of those would not
    -- notice two rows that swap values.
    hash(
        hash(
            session_id,
            seq,
            ts_ms,
            ts_exact,
            kind,
            tool,
            tokens_in,
            tokens_out,
            reasoning_tokens,
            cache_creation_tokens,
            cache_read_tokens,
            cost_usd_e6,
            message_role,
            is_prompt,
            is_unreliable,
            is_error
        )
    ) as row_check
from staged_events
