-- purpose: what analysis needs to know of a session, with its user and organisation.
-- grain: one row per session.
-- null: what nobody recorded.
select
    sessions.id,
    sessions.agent,
    sessions.model,
    sessions.workspace,
    sessions.started_at_ms,
    sessions.ended_at_ms,
    sessions.status,
    sessions.start_commit,
    sessions.branch,
    sessions.dirty_start,
    sessions.repo_binding_source,
    sessions.prompt_fingerprint,
    sessions.parent_session_id,
    ka_session_attributes.user,
    ka_session_attributes.organisation
from sessions
left join ka_session_attributes
    on sessions.id = ka_session_attributes.session_id
