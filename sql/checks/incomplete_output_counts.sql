-- purpose: every response has a complete output count.
-- grain: one row per agent with responses that have none.
-- null: never.
-- severity: note
-- remedy: read output tokens and cost as too low, because the agent did not write the rest; a newer version may.
-- reads: sessions, staged_events (staging/events.sql).
select
    sessions.agent,
    count(*) filter (where staged_events.is_unreliable = 1) as incomplete,
    count(*) as responses
from staged_events
inner join sessions
    on staged_events.session_id = sessions.id
where
    coalesce(
        staged_events.tokens_in,
        staged_events.tokens_out,
        staged_events.reasoning_tokens,
        staged_events.cache_creation_tokens,
        staged_events.cache_read_tokens
    ) is not null
group by sessions.agent
having count(*) filter (where staged_events.is_unreliable = 1) > 0
