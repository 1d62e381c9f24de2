-- id: H5
-- name: idle sessions
-- purpose: sessions that were left idle, but open.
-- grain: one row, or none.
-- null: never; a session without an end counts as open until its last event.
-- confidence: low
-- category: hygiene
-- effort_minutes: 15
-- basis: estimate
-- metric: duration_minutes
-- needs: sessions
-- threshold: min_sessions = 2 (idle sessions)
-- threshold: min_minutes = 30 (minutes from the session's start to its end)
-- saving: 300 x idle sessions.
with last_events as (
    select
        session_id,
        max(ts_ms) as last_ms
    from events
    group by session_id
),

idle_sessions as (
    select sessions.id
    from sessions
    left join last_events
        on sessions.id = last_events.session_id
    where
        sessions.status = 'Idle'
        and coalesce(sessions.ended_at_ms, last_events.last_ms) - sessions.started_at_ms
        >= $min_minutes * cast(60000 as bigint)
),

bets as (
    select
        'idle' as bet_key,
        cast(count(*) as varchar) || ' sessions stayed open and idle' as title,
        'A session that waits loses its cache; the next prompt pays for the whole context again.' as hypothesis,
        'End sessions when the task is done, and start a new one for the next task.' as apply_step,
        list(id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(300 * count(*) * $per_week as double) as tokens_saved_per_week
    from idle_sessions
    having count(*) >= $min_sessions
)

select * from bets
