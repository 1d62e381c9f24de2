-- purpose: every session ran between 2020 and now.
-- grain: one row per session with an event at another time.
-- null: never.
-- severity: note
-- remedy: the clock of the machine was wrong then; periods and durations of these sessions are too.
select
    id as session_id,
    started_at_ms,
    ended_at_ms
from sessions
where
    started_at_ms < epoch_ms(timestamp '2020-01-01')
    or coalesce(ended_at_ms, started_at_ms) > epoch_ms(now()) + 86400000
