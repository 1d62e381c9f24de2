-- purpose: the sessions whose root started between two times; sub-agents stand beside the root they are counted with.
-- grain: one row per session.
-- null: model where nobody recorded it. is_orphan marks a sub-agent whose root the store does not hold.
select
    sessions.id as session_id,
    session_roots.root_id,
    sessions.agent,
    sessions.model,
    sessions.workspace,
    sessions.started_at_ms,
    roots.started_at_ms as root_started_at_ms,
    roots.parent_session_id is not null as is_orphan
from sessions
inner join session_roots
    on sessions.id = session_roots.session_id
inner join sessions as roots
    on session_roots.root_id = roots.id
where
    roots.started_at_ms >= $from_ms
    and roots.started_at_ms < $to_ms
