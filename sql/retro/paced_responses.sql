-- purpose: every response beside the one before it in its session.
-- grain: one row per response.
-- null: what the first response of a session has before it; dollars without a price.
-- reads: responses. dearer_usd is what a token costs that is written into the cache anew instead of read from it.
select
    session_id,
    seq,
    ts_ms,
    model,
    segment,
    context_tokens,
    read_tokens,
    read_usd,
    ts_ms - lag(ts_ms) over session as break_ms,
    lag(seq) over session as before_seq,
    lag(context_tokens) over session as before_tokens,
    lag(life_ms) over session as before_life_ms,
    lag(model) over session as before_model,
    lag(segment) over session as before_segment,
    case when write_tokens is null then input_usd when life_ms = 3600000 then hour_usd else write_usd end - read_usd
        as dearer_usd
from responses
window session as (partition by session_id order by seq)
