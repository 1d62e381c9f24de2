-- purpose: when, on which branch and on which files a session worked, to find commits that no transcript tells.
-- grain: one row per root session in the JSON list $session_ids that touched a file.
-- null: branch where nobody recorded it.
-- ended_at_ms is the time of the last event where the session has no end; paths are JSON.
with wanted as (
    select unnest(from_json($session_ids, '["varchar"]')) as root_id
),

members as (
    select
        session_roots.root_id,
        session_roots.session_id
    from session_roots
    inner join wanted
        on session_roots.root_id = wanted.root_id
),

touched as (
    select
        members.root_id,
        cast(to_json(list(distinct files_touched.path)) as varchar) as paths
    from members
    inner join files_touched
        on members.session_id = files_touched.session_id
    group by members.root_id
),

ends as (
    select
        members.root_id,
        max(events.ts_ms) as last_ms
    from members
    inner join events
        on members.session_id = events.session_id
    group by members.root_id
)

select
    touched.root_id as session_id,
    sessions.branch,
    sessions.started_at_ms,
    coalesce(sessions.ended_at_ms, ends.last_ms, sessions.started_at_ms) as ended_at_ms,
    touched.paths
from touched
inner join sessions
    on touched.root_id = sessions.id
left join ends
    on touched.root_id = ends.root_id
