-- purpose: sub-agents that cost without need: copies of the conversation, files read twice, results that never came.
-- grain: one row per copy (subject 'copy'), per file that the parent reads after a sub-agent did ('reread') or within
--   40 events of the report of one that explored ('explored'), and per sub-agent without a result ('lost').
-- null: dollars and tokens where they are unknown.
with starts as (
    select
        session_id,
        arg_min(seq, seq) as seq,
        arg_min(ts_ms, seq) as ts_ms,
        arg_min(context_tokens, seq) as start_tokens,
        sum(read_usd) as read_usd,
        count(*) as times
    from responses
    where session_id <> root_id
    group by session_id
),

readings as (
    select
        session_id,
        seq,
        ts_ms,
        root_id,
        path,
        carried_usd + reread_usd as cost_usd,
        carried_tokens + reread_tokens as tokens,
        session_id = root_id as is_parent,
        carried_usd,
        carried_tokens
    from calls
    where lower(tool) in ('read', 'read_file') and path is not null and not coalesce(failed, false)
)

select
    session_id,
    seq,
    ts_ms,
    'copy' as subject,
    (start_tokens - 20000) * read_usd as cost_usd,
    (start_tokens - 20000) * times as tokens,
    cast(start_tokens as varchar) as detail,
    cast([] as varchar[]) as remedy
from starts
where start_tokens >= 50000
union all
select
    parent.session_id,
    parent.seq,
    parent.ts_ms,
    'reread' as subject,
    parent.cost_usd,
    parent.tokens,
    parent.path as detail,
    cast([] as varchar[]) as remedy
from readings as parent
where
    parent.is_parent
    and exists (
        select 1
        from readings as child
        where
            not child.is_parent
            and child.root_id = parent.root_id
            and child.path = parent.path
            and child.ts_ms < parent.ts_ms
    )
union all
select
    session_id,
    seq,
    ts_ms,
    'explored' as subject,
    carried_usd * 0.75 as cost_usd,
    cast(carried_tokens * 0.75 as bigint) as tokens,
    path as detail,
    cast([] as varchar[]) as remedy
from readings as reading
where
    exists (
        select 1
        from calls
        where
            calls.session_id = reading.session_id
            and lower(calls.helper) = 'explore'
            and not calls.failed
            and reading.seq between calls.result_seq and calls.result_seq + 40
    )
union all
select
    session_id,
    seq,
    ts_ms,
    'lost' as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    coalesce(error, 'no result') as detail,
    cast([] as varchar[]) as remedy
from calls
where
    lower(tool) in ('task', 'agent', 'spawn_agent', 'taskstop')
    and (lower(tool) = 'taskstop' or result_seq is null or (failed and problem is distinct from 'helper'))
