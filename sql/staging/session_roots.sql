-- purpose: the root session that each session's work is counted with; a sub-agent belongs to whoever started it.
-- grain: one row per session.
-- null: never; a session without a known parent, or in a circle of parents, is its own root.
with recursive started_by as (
    select
        child.id as session_id,
        parent.id as parent_id
    from sessions as child
    left join sessions as parent
        on child.parent_session_id = parent.id and child.id <> parent.id
),

descent as (
    select
        session_id,
        session_id as root_id
    from started_by
    where parent_id is null
    union all
    select
        child.session_id,
        descent.root_id
    from started_by as child
    inner join descent
        on child.parent_id = descent.session_id
)

select
    sessions.id as session_id,
    coalesce(descent.root_id, sessions.id) as root_id
from sessions
left join descent
    on sessions.id = descent.session_id
