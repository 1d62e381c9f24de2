-- purpose: what decides the arm and the cluster of a session.
-- grain: one row per session.
-- null: branch, start_commit, prompt_fingerprint, dirty_start, user_name and organisation where nobody recorded them.
select
    sessions.id as session_id,
    sessions.workspace,
    sessions.started_at_ms,
    sessions.branch,
    sessions.start_commit,
    sessions.prompt_fingerprint,
    sessions.dirty_start,
    sessions.repo_binding_source,
    ka_session_attributes.user as user_name,
    ka_session_attributes.organisation
from sessions
left join ka_session_attributes
    on sessions.id = ka_session_attributes.session_id
