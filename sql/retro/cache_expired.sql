-- purpose: responses that wrote the context into the cache anew because a break had outlasted it.
-- grain: one row per response after such a break; subject is the life of the cache in minutes.
-- null: dollars without a price. Caches of an unknown life count after a break of 10 minutes: providers keep
--   theirs for 5 to 10 minutes.
-- reads: paced_responses.
select
    session_id,
    seq,
    ts_ms,
    case when before_life_ms is null then 'unknown' else cast(before_life_ms // 60000 as varchar) end as subject,
    greatest(before_tokens - read_tokens, 0) * dearer_usd as cost_usd,
    greatest(before_tokens - read_tokens, 0) as tokens,
    cast(break_ms // 60000 as varchar) as detail,
    cast([] as varchar[]) as remedy
from paced_responses
where
    break_ms > coalesce(before_life_ms, 600000)
    and segment = before_segment
    and model = before_model
    and before_tokens >= 20000
    and read_tokens < before_tokens / 2
