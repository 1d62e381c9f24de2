-- purpose: messages say which of them are human prompts.
-- grain: one row per agent with sessions whose messages do not.
-- null: never.
-- severity: note
-- remedy: their prompt metrics are unknown; ingest again with --full.
-- reads: sessions, staged_events (staging/events.sql).
with marked as (
    select
        session_id,
        max(
            case
                when coalesce(is_prompt, 0) = 1 then 1
                when coalesce(message_role, '') = 'assistant' then 1
                else 0
            end
        ) as is_marked
    from staged_events
    where kind = 'Message'
    group by session_id
)

select
    sessions.agent,
    count(*) as sessions
from sessions
inner join marked
    on sessions.id = marked.session_id
where marked.is_marked = 0
group by sessions.agent
