-- purpose: what tells whether the events of a session are still those that a lake holds.
-- grain: one row per session that has events.
-- null: never.
-- reads: staged_events (staging/events.sql).
select
    session_id,
    cast(count(*) as bigint) as events,
    -- The outer hash matters: the inner one mixes its last column in with a plain xor, and a sum of those would not
    -- notice two rows that swap values.
    cast(
        sum(
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
            )
        ) % 18446744073709551616 as ubigint
    ) as row_checks
from staged_events
group by session_id
