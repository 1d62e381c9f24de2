-- id: H16
-- name: prompt variants
-- purpose: two sets of instructions under which sessions cost or fail differently.
-- grain: one row per pair of prompt fingerprints.
-- null: never; a mean cost is left out where no session of a variant has one.
-- confidence: low
-- category: hygiene
-- effort_minutes: 20
-- basis: estimate
-- metric: cost_per_session
-- needs: sessions.prompt_fingerprint, session_metrics
-- threshold: min_sessions = 5 (sessions of each variant)
-- threshold: min_cost_gap = 0.2 (difference of the mean costs, as a share of the larger)
-- threshold: min_error_gap = 0.15 (difference of the shares of sessions with an error)
-- saving: 500 x sessions of the costlier variant.
with variant_sessions as (
    select
        sessions.prompt_fingerprint as fingerprint,
        session_metrics.session_id,
        session_metrics.cost_per_session,
        1 - session_metrics.success_rate as is_failed
    from session_metrics
    inner join sessions
        on session_metrics.session_id = sessions.id
    where sessions.prompt_fingerprint is not null
),

variants as (
    select
        fingerprint,
        count(*) as n_sessions,
        avg(cost_per_session) as mean_usd,
        avg(is_failed) as error_share,
        list(session_id) as evidence
    from variant_sessions
    group by fingerprint
    having count(*) >= $min_sessions
),

pairs as (
    select
        one.fingerprint as first_fingerprint,
        other.fingerprint as second_fingerprint,
        abs(one.mean_usd - other.mean_usd) / nullif(greatest(one.mean_usd, other.mean_usd), 0) as cost_gap,
        abs(one.error_share - other.error_share) as error_gap,
        one.n_sessions + other.n_sessions as n_sessions,
        case when coalesce(one.mean_usd >= other.mean_usd, true) then one.n_sessions else other.n_sessions end
            as n_costlier,
        list_concat(one.evidence, other.evidence) as evidence
    from variants as one
    inner join variants as other
        on one.fingerprint < other.fingerprint
),

bets as (
    select
        first_fingerprint || '|' || second_fingerprint as bet_key,
        'Sessions differ between two sets of instructions (`' || left(first_fingerprint, 8) || '`, `'
        || left(second_fingerprint, 8) || '`)' as title,
        'Mean cost differs by ' || coalesce(printf('%.0f %%', 100 * cost_gap), 'an unknown amount')
        || ', the share of sessions with an error by '
        || coalesce(printf('%.0f points', 100 * error_gap), 'an unknown amount')
        || ', over ' || cast(n_sessions as varchar)
        || ' sessions. This is an association: tasks may differ as well.' as hypothesis,
        'Run both side by side as an experiment: `kaizen-analytics exp new --from-bet H16:' || first_fingerprint || '|'
        || second_fingerprint || '`.' as apply_step,
        evidence,
        cast(n_sessions as bigint) as occurrences,
        cast(500 * n_costlier * $per_week as double) as tokens_saved_per_week
    from pairs
    where cost_gap >= $min_cost_gap or error_gap >= $min_error_gap
)

select * from bets
