-- purpose: a session and the sub-agents below it, with what each used itself.
-- grain: one row per session of the tree, a parent before its children.
-- null: parent_id of the first one; minutes without an end; tokens without usage; cost without a priced response.
with recursive tree as (
    select
        sessions.id as session_id,
        cast(null as varchar) as parent_id,
        0 as n_above
    from sessions
    where sessions.id = $root_id
    union
    select
        child.id as session_id,
        tree.session_id as parent_id,
        tree.n_above + 1 as n_above
    from sessions as child
    inner join tree
        on child.parent_session_id = tree.session_id and child.id <> tree.session_id
    where tree.n_above < 50
),

-- A circle of parents meets its sessions again: the first meeting counts.
met as (
    select
        session_id,
        arg_min(parent_id, n_above) as parent_id,
        cast(min(n_above) as bigint) as n_above
    from tree
    group by session_id
),

used as (
    select
        session_id,
        cast(
            sum(
                coalesce(tokens_in, 0) + coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0)
                + coalesce(cache_creation_tokens, 0)
            ) as bigint
        ) as new_tokens,
        cast(sum(cost_usd_e6) as double) / 1e6 as cost_usd
    from events
    where coalesce(tokens_in, tokens_out, reasoning_tokens, cache_creation_tokens) is not null
    group by session_id
)

select
    met.session_id,
    case when met.n_above > 0 then met.parent_id end as parent_id,
    met.n_above,
    sessions.agent,
    sessions.model,
    cast(sessions.ended_at_ms - sessions.started_at_ms as double) / 60000 as n_minutes,
    used.new_tokens,
    used.cost_usd
from met
inner join sessions
    on met.session_id = sessions.id
left join used
    on met.session_id = used.session_id
order by met.n_above, sessions.started_at_ms, met.session_id
