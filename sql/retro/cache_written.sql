-- purpose: responses that read little of a large context from the cache and wrote it anew; compactions excepted
--   (`carried_context`).
-- grain: one row per response; subject is 'expired' and the life of the cache in minutes where a break had outlasted
--   it, else 'lost' and the cause as far as the transcript shows it. detail is the break in minutes, or what was lost.
-- null: dollars without a price. Caches of an unknown life count as expired after a break of 10 minutes and as lost up
--   to one of 5: providers keep theirs for 5 to 10 minutes.
-- reads: paced_responses, calls.
with written as (
    select
        *,
        break_ms > coalesce(before_life_ms, 600000) as is_expired,
        case
            when break_ms > coalesce(before_life_ms, 600000) then before_tokens
            else least(before_tokens, context_tokens)
        end as held_tokens
    from paced_responses
    where
        segment = before_segment
        and before_tokens >= 20000
        and (break_ms > coalesce(before_life_ms, 600000) or break_ms <= coalesce(before_life_ms, 300000))
)

select
    session_id,
    seq,
    ts_ms,
    case
        when is_expired then 'expired:' || coalesce(cast(before_life_ms // 60000 as varchar), 'unknown')
        when coalesce(model, '') <> coalesce(before_model, '') then 'lost:model'
        when exists (
            select 1
            from calls
            where
                calls.session_id = written.session_id
                and calls.seq between written.before_seq and written.seq
                and lower(calls.tool) in ('toolsearch', 'tool_search')
        ) then 'lost:tools'
        when context_tokens < before_tokens * 0.9 then 'lost:rewind'
        else 'lost:unknown'
    end as subject,
    (held_tokens - read_tokens) * dearer_usd as cost_usd,
    held_tokens - read_tokens as tokens,
    cast(case when is_expired then break_ms // 60000 else before_tokens end as varchar) as detail,
    cast([] as varchar[]) as remedy
from written
where read_tokens < held_tokens / 2 and (not is_expired or model = before_model)
