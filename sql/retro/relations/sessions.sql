-- purpose: the sessions whose root started between two times, in one workspace or in all.
-- grain: one row per session; sub-agents stand beside the root that they are counted with.
-- null: parent_session_id for a root; model, ended_at_ms, branch and prompt_fingerprint where nobody recorded them.
-- reads: session_roots (staging/session_roots.sql).
select
    sessions.id,
    session_roots.root_id,
    sessions.parent_session_id,
    sessions.agent,
    sessions.model,
    sessions.workspace,
    sessions.status,
    sessions.branch,
    sessions.prompt_fingerprint,
    sessions.started_at_ms,
    sessions.ended_at_ms,
    roots.started_at_ms as root_started_at_ms
from sessions
inner join session_roots
    on sessions.id = session_roots.session_id
inner join sessions as roots
    on session_roots.root_id = roots.id
where
    roots.started_at_ms >= $from_ms
    and roots.started_at_ms < $to_ms
    and (
        cast($workspace as varchar) is null
        or roots.workspace = cast($workspace as varchar)
        or starts_with(roots.workspace, cast($workspace as varchar) || '/')
    )
