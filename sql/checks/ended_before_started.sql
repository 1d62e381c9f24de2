-- purpose: no session ends before it starts.
-- grain: one row per session that does.
-- null: a session without an end passes.
-- severity: error
-- remedy: check the clock of the machine that recorded it; its duration is negative.
select
    id as session_id,
    started_at_ms,
    ended_at_ms
from sessions
where ended_at_ms < started_at_ms
