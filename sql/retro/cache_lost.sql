-- purpose: responses that read little of a large context from the cache although no break had outlasted it;
--   compactions excepted (`carried_context`).
-- grain: one row per response; subject is the cause as far as the transcript shows it.
-- null: dollars without a price. Where the life of the cache is unknown, only breaks of up to 5 minutes are none.
-- reads: paced_responses, calls.
select
    paced.session_id,
    paced.seq,
    paced.ts_ms,
    case
        when coalesce(paced.model, '') <> coalesce(paced.before_model, '') then 'model'
        when exists (
            select 1
            from calls
            where
                calls.session_id = paced.session_id
                and calls.seq between paced.before_seq and paced.seq
                and lower(calls.tool) in ('toolsearch', 'tool_search')
        ) then 'tools'
        when paced.context_tokens < paced.before_tokens * 0.9 then 'rewind'
        else 'unknown'
    end as subject,
    (least(paced.before_tokens, paced.context_tokens) - paced.read_tokens) * paced.dearer_usd as cost_usd,
    least(paced.before_tokens, paced.context_tokens) - paced.read_tokens as tokens,
    cast(paced.before_tokens as varchar) as detail,
    cast([] as varchar[]) as remedy
from paced_responses as paced
where
    paced.break_ms <= coalesce(paced.before_life_ms, 300000)
    and paced.segment = paced.before_segment
    and paced.before_tokens >= 20000
    and paced.read_tokens < least(paced.before_tokens, paced.context_tokens) / 2
