-- id: H32
-- name: long sampled session
-- purpose: sessions that ran long enough to be sampled very often.
-- grain: one row, or none.
-- null: never.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 10
-- basis: estimate
-- metric: duration_minutes
-- needs: session_samples
-- threshold: min_samples = 100 (samples of one session)
-- saving: 2 x samples.
with samples as (
    select
        session_id,
        count(*) as n_samples
    from session_samples
    group by session_id
    having count(*) >= $min_samples
),

bets as (
    select
        'samples' as bet_key,
        cast(count(*) as varchar) || ' session(s) ran very long' as title,
        'The longest was sampled ' || cast(max(n_samples) as varchar)
        || ' times. The longer a session, the more each prompt costs.' as hypothesis,
        'Cut the work into shorter sessions, one task each.' as apply_step,
        list(session_id) as evidence,
        cast(sum(n_samples) as bigint) as occurrences,
        cast(2 * sum(n_samples) * $per_week as double) as tokens_saved_per_week
    from samples
    having count(*) > 0
)

select * from bets
