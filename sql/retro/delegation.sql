-- purpose: sub-agents that cost without need: copies of the conversation, files read twice, results that never came.
-- grain: one row per copy (subject 'copy'), per file that the parent reads after a sub-agent did ('reread') or within
--   40 events of the report of one that explored ('explored'), and per sub-agent without a result ('lost').
-- null: dollars and tokens where they are unknown. Files that the parent edits later are left out: it has to read them.
with starts as (
    select
        session_id,
        root_id,
        arg_min(seq, seq) as seq,
        arg_min(ts_ms, seq) as ts_ms,
        arg_min(context_tokens, seq) as start_tokens,
        sum(read_usd) as read_usd,
        count(*) as times
    from responses
    group by session_id, root_id
),

copies as (
    -- A copy begins with nearly all that its parent held, which is far more than its parent began with.
    select
        child.*,
        parent.start_tokens as bare_tokens
    from starts as child
    inner join starts as parent
        on child.root_id = parent.session_id and child.session_id <> child.root_id
    asof inner join responses as held
        on child.root_id = held.session_id and child.ts_ms > held.ts_ms
    where
        held.context_tokens >= parent.start_tokens + 20000
        and child.start_tokens between 0.8 * held.context_tokens and 1.25 * held.context_tokens
),

readings as (
    select
        *,
        session_id = root_id as is_parent
    from calls
    where lower(tool) in ('read', 'read_file') and path is not null and not coalesce(failed, false)
),

again as (
    select
        *,
        exists(
            select 1
            from readings as child
            where
                not child.is_parent
                and child.root_id = parent.root_id
                and child.path = parent.path
                and child.ts_ms < parent.ts_ms
        ) as is_reread,
        exists(
            select 1
            from calls
            where
                calls.session_id = parent.session_id
                and lower(calls.helper) = 'explore'
                and not calls.failed
                and parent.seq between calls.result_seq and calls.result_seq + 40
        ) as is_explored
    from readings as parent
    where
        not exists (
            select 1
            from calls
            where
                calls.session_id = parent.session_id
                and calls.is_edit
                and calls.path = parent.path
                and calls.seq > parent.seq
        )
)

select
    session_id,
    seq,
    ts_ms,
    'copy' as subject,
    (start_tokens - bare_tokens) * read_usd as cost_usd,
    (start_tokens - bare_tokens) * times as tokens,
    cast(start_tokens as varchar) as detail,
    cast([] as varchar[]) as remedy
from copies
union all
select
    session_id,
    seq,
    ts_ms,
    case when is_parent and is_reread then 'reread' else 'explored' end as subject,
    case when is_parent and is_reread then carried_usd + reread_usd else carried_usd * 0.75 end as cost_usd,
    cast(case when is_parent and is_reread then carried_tokens + reread_tokens else carried_tokens * 0.75 end as bigint)
        as tokens,
    path as detail,
    cast([] as varchar[]) as remedy
from again
where (is_parent and is_reread) or is_explored
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
    lower(tool) in ('task', 'agent', 'spawn_agent')
    and (result_seq is null or (failed and problem is null))
