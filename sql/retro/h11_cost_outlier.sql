-- id: H11
-- name: cost outlier
-- purpose: a session that cost a multiple of the mean.
-- grain: one row per session.
-- null: never; sessions without a cost do not count.
-- confidence: medium
-- category: investigation
-- effort_minutes: 30
-- basis: estimate
-- metric: cost_per_session
-- needs: session_metrics.cost_per_session
-- threshold: min_sessions = 6 (sessions with a known cost)
-- threshold: min_factor = 4.0 (times the mean cost of a session)
-- threshold: min_usd = 0.04 (cost of the session)
-- threshold: min_cost_share = 0.1 (share of the window's whole cost)
-- saving: half the tokens above the mean session.
with priced_sessions as (
    select
        session_id,
        cost_per_session,
        coalesce(tokens_per_session, 0) as tokens,
        count(*) over () as n_sessions,
        avg(cost_per_session) over () as mean_usd,
        sum(cost_per_session) over () as all_usd,
        avg(coalesce(tokens_per_session, 0)) over () as mean_tokens
    from session_metrics
    where cost_per_session is not null
),

bets as (
    select
        session_id as bet_key,
        'One session cost $' || printf('%.2f', cost_per_session) || ', '
        || printf('%.0f', cost_per_session / nullif(mean_usd, 0)) || ' times the mean' as title,
        'The mean of ' || cast(n_sessions as varchar) || ' sessions is $' || printf('%.2f', mean_usd)
        || '. A task of that size is usually several tasks, or one that went in circles.' as hypothesis,
        'Read session `' || session_id || '`: where did it stop making progress, and what would have told it?'
            as apply_step,
        [session_id] as evidence,
        cast(1 as bigint) as occurrences,
        cast(greatest(tokens - mean_tokens, 0) / 2 * $per_week as double) as tokens_saved_per_week
    from priced_sessions
    where
        n_sessions >= $min_sessions
        and cost_per_session >= $min_factor * mean_usd
        and cost_per_session >= $min_usd
        and cost_per_session >= $min_cost_share * all_usd
)

select * from bets
