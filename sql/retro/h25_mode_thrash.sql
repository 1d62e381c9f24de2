-- id: H25
-- name: mode thrash
-- purpose: sessions that switch between modes (plan, edit, ask) many times.
-- grain: one row, or none.
-- null: never; sessions without any change of mode do not count.
-- confidence: low
-- category: hygiene
-- effort_minutes: 20
-- basis: estimate
-- metric: prompts_per_session
-- needs: events.lifecycle
-- threshold: min_sessions = 2 (sessions with a change of mode)
-- threshold: min_mean = 4.0 (mean changes of those sessions)
-- saving: 40 x changes.
with changes as (
    select
        session_id,
        count(*) as n_changes
    from events
    where kind = 'Lifecycle' and lifecycle in ('mode', 'mode_transition')
    group by session_id
),

bets as (
    select
        'modes' as bet_key,
        'Sessions change their mode ' || printf('%.1f', avg(n_changes)) || ' times on average' as title,
        cast(sum(n_changes) as varchar) || ' changes in ' || cast(count(*) as varchar)
        || ' sessions. Each change interrupts the agent and alters the start of its prompt.' as hypothesis,
        'Agree on one mode at the start: plan first, then edit without going back.' as apply_step,
        list(session_id) as evidence,
        cast(sum(n_changes) as bigint) as occurrences,
        cast(40 * sum(n_changes) * $per_week as double) as tokens_saved_per_week
    from changes
    having count(*) >= $min_sessions and avg(n_changes) >= $min_mean
)

select * from bets
