-- purpose: every event belongs to a stored session.
-- grain: one row per unknown session.
-- null: never.
-- severity: error
-- remedy: ingest again; events without a session are in no metric.
select
    events.session_id,
    count(*) as events
from events
left join sessions
    on events.session_id = sessions.id
where sessions.id is null
group by events.session_id
