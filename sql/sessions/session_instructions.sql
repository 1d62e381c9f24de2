-- purpose: which instructions were in force, and when, so that the two arms of an experiment can be named.
-- grain: one row per workspace, agent and fingerprint; sub-agents are left out.
-- null: never; sessions without a fingerprint are left out.
select
    workspace,
    agent,
    prompt_fingerprint as fingerprint,
    count(*) as sessions,
    min(started_at_ms) as first_started_at_ms,
    max(started_at_ms) as last_started_at_ms
from sessions
where prompt_fingerprint is not null and parent_session_id is null
group by workspace, agent, prompt_fingerprint
order by workspace asc, agent asc, first_started_at_ms asc
