-- purpose: the sessions that have outcomes.
-- grain: one row per session that no other session started, oldest first.
-- null: never.
-- members are the ids of the session and its sub-agents, as JSON.
with named as (
    select unnest(from_json($session_ids, '["varchar"]')) as named_id
),

families as (
    select
        session_roots.root_id,
        cast(to_json(list(session_roots.session_id order by session_roots.session_id)) as varchar) as members,
        bool_or(named.named_id is not null) as is_named
    from session_roots
    left join named
        on session_roots.session_id = named.named_id
    group by session_roots.root_id
),

roots as (
    select
        sessions.id as session_id,
        sessions.agent,
        sessions.workspace,
        sessions.started_at_ms,
        families.members,
        families.is_named
    from sessions
    inner join families
        on sessions.id = families.root_id
)

select
    session_id,
    agent,
    workspace,
    started_at_ms,
    members
from roots
where
    ($since_ms is null or started_at_ms >= $since_ms or is_named)
    and ($folder is null or starts_with(workspace || '/', $folder))
order by started_at_ms, session_id
