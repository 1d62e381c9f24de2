-- purpose: what decides the arm and the cluster of a session.
-- grain: one row per session.
-- branches: every branch on which the session ran, a line each.
-- null: branch, branches, start_commit, prompt_fingerprint, dirty_start, user_name, organisation, pull_request: nobody
-- recorded them.
with moves as (
    select
        session_id,
        string_agg(distinct branch, chr(10)) as branches
    from ka_places
    where branch is not null
    group by session_id
)

select
    sessions.id as session_id,
    sessions.workspace,
    sessions.started_at_ms,
    sessions.branch,
    moves.branches,
    sessions.start_commit,
    sessions.prompt_fingerprint,
    sessions.dirty_start,
    sessions.repo_binding_source,
    ka_session_attributes.user as user_name,
    ka_session_attributes.organisation,
    ka_outcomes.pull_request
from sessions
left join moves
    on sessions.id = moves.session_id
left join ka_session_attributes
    on sessions.id = ka_session_attributes.session_id
left join ka_outcomes
    on sessions.id = ka_outcomes.session_id
