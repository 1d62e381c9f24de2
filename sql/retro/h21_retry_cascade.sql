-- id: H21
-- name: retry cascade
-- purpose: sessions whose requests had to be sent again and again.
-- grain: one row, or none.
-- null: never.
-- confidence: high
-- category: investigation
-- effort_minutes: 45
-- basis: estimate
-- metric: duration_minutes
-- needs: events
-- threshold: min_retries_once = 15 (retries in one session)
-- threshold: min_retries = 3 (retries that make a session count)
-- threshold: min_sessions = 5 (sessions that count)
-- saving: 1500 x sessions that count.
with retries as (
    select
        session_id,
        sum(coalesce(retry_count, 0)) + count(*) filter (where lifecycle = 'api_retry') as n_retries
    from events
    group by session_id
),

bets as (
    select
        'retries' as bet_key,
        cast(count(*) as varchar) || ' session(s) had to repeat requests, one of them '
        || cast(max(n_retries) as varchar) || ' times' as title,
        'Rate limits or an overloaded service make agents wait and send their context again.' as hypothesis,
        'Run fewer sessions at once, move batch work out of busy hours, or use a model with free capacity.'
            as apply_step,
        list(session_id) as evidence,
        cast(sum(n_retries) as bigint) as occurrences,
        cast(1500 * count(*) * $per_week as double) as tokens_saved_per_week
    from retries
    where n_retries >= $min_retries
    having count(*) >= $min_sessions or max(n_retries) >= $min_retries_once
)

select * from bets
