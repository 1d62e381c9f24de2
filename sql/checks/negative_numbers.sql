-- purpose: no token count, cost or latency is negative.
-- grain: one row per event with a negative number.
-- null: a missing number is not negative.
-- severity: error
-- remedy: ingest again with --full; report the transcript if it repeats.
select
    session_id,
    seq
from events
where
    tokens_in < 0
    or tokens_out < 0
    or reasoning_tokens < 0
    or cache_creation_tokens < 0
    or cache_read_tokens < 0
    or cost_usd_e6 < 0
    or latency_ms < 0
