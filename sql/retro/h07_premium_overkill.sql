-- id: H7
-- name: premium overkill
-- purpose: cheap sessions on expensive models.
-- grain: one row, or none.
-- null: never; sessions without a cost do not count.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 25
-- basis: estimate
-- metric: cost_per_session
-- needs: session_metrics.cost_per_session
-- threshold: min_sessions = 8 (sessions with a known cost)
-- threshold: max_mean_usd = 0.05 (mean cost of a session)
-- threshold: min_share = 0.34 (share of the sessions on a premium model)
-- threshold: premium_models = 'opus|-pro\b|^o1|^o3' (models that count as premium, as a regular expression)
-- saving: 400 x sessions.
with priced_sessions as (
    select
        session_id,
        cost_per_session,
        regexp_matches(coalesce(model, ''), $premium_models) as is_premium
    from session_metrics
    where cost_per_session is not null
),

bets as (
    select
        'models' as bet_key,
        cast(count(*) filter (where is_premium) as varchar) || ' of ' || cast(count(*) as varchar)
        || ' sessions ran small tasks on a premium model' as title,
        'A session cost $' || printf('%.3f', avg(cost_per_session))
        || ' on average. Tasks of that size rarely need the largest model.' as hypothesis,
        'Make a smaller model the default, and choose the premium one for a task that needs it.' as apply_step,
        list(session_id) filter (where is_premium) as evidence,
        cast(count(*) filter (where is_premium) as bigint) as occurrences,
        cast(400 * count(*) * $per_week as double) as tokens_saved_per_week
    from priced_sessions
    having
        count(*) >= $min_sessions
        and avg(cost_per_session) <= $max_mean_usd
        and count(*) filter (where is_premium) >= $min_share * count(*)
)

select * from bets
