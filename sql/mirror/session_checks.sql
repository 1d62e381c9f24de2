-- purpose: what tells whether the events of a session are still those that the columnar mirror holds.
-- grain: one row per session that has events.
-- null: never.
-- reads: mirrored_events (mirror/events.sql).
select
    session_id,
    count(*) as events,
    cast(sum(row_check) % 18446744073709551616 as ubigint) as row_checks
from mirrored_events
group by session_id
