-- id: H19
-- name: context pressure
-- purpose: sessions that fill most of the model's context window.
-- grain: one row, or none.
-- null: never; sessions whose agent does not tell the size of the window do not count.
-- confidence: high
-- category: investigation
-- effort_minutes: 30
-- basis: estimate
-- metric: tokens_per_session
-- needs: responses.context_max_tokens
-- threshold: min_sessions = 5 (sessions under pressure)
-- threshold: min_share = 0.8 (share of the context window in use, at its highest)
-- saving: 2000 x sessions.
with pressures as (
    select
        session_id,
        max(context_used_tokens / nullif(cast(context_max_tokens as double), 0)) as used_share
    from responses
    group by session_id
),

bets as (
    select
        'context' as bet_key,
        cast(count(*) as varchar) || ' sessions used ' || printf('%.0f %%', 100.0 * $min_share)
        || ' or more of their context window' as title,
        'A full context is dear to send and is soon compacted; what was agreed early on is then lost.' as hypothesis,
        'Start a new session for a new task, and hand over with a short written summary.' as apply_step,
        list(session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(2000 * count(*) * $per_week as double) as tokens_saved_per_week
    from pressures
    where used_share >= $min_share
    having count(*) >= $min_sessions
)

select * from bets
