-- purpose: how many events each session has, from the index on session_id alone.
-- grain: one row per session that has events.
-- null: never.
select
    cast(session_id as varchar) as session_id,
    cast(n_events as bigint) as events
from sqlite_query('k', 'select session_id, count(*) as n_events from events group by session_id')
