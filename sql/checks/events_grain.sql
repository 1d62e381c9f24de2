-- purpose: an event is stored once.
-- grain: one row per place in a session that holds several events.
-- null: never.
-- severity: error
-- remedy: ingest again with --full.
select
    session_id,
    seq,
    count(*) as events
from events
group by session_id, seq
having count(*) > 1
