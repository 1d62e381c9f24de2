-- purpose: answers that the service refused, broke off or cut at their limit.
-- grain: one row per error of the service, and per response that ended at its limit; subject is what it was.
-- null: dollars and tokens of an error, always; of a response, where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    error as subject,
    cast(null as double) as cost_usd,
    cast(null as bigint) as tokens,
    error as detail,
    cast([] as varchar[]) as remedy
from errors
where error <> 'interrupted'
union all
select
    session_id,
    seq,
    ts_ms,
    'truncated' as subject,
    cost_usd,
    cast(context_tokens + output_tokens as bigint) as tokens,
    model as detail,
    cast([] as varchar[]) as remedy
from responses
where stop_reason in ('max_tokens', 'length', 'max_output_tokens')
