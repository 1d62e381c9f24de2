-- id: H9
-- name: error budget
-- purpose: errors of the service or of whole turns, by their kind; interruptions by a person are H38's.
-- grain: one row per kind of error.
-- null: never.
-- confidence: high
-- category: investigation
-- effort_minutes: 35
-- basis: estimate
-- metric: success_rate
-- needs: events
-- threshold: min_errors = 6 (errors in the window)
-- threshold: min_sessions = 5 (sessions before the share counts)
-- threshold: min_share = 0.22 (share of the sessions with an error)
-- saving: 120 x errors.
with failures as (
    select
        session_id,
        replace(coalesce(error, 'unknown'), '`', '''') as error
    from events
    where kind = 'Error' and not regexp_matches(coalesce(error, ''), '^(interrupted|aborted|turn_aborted)')
),

budget as (
    select
        count(*) as n_errors,
        count(distinct session_id) as n_failed_sessions,
        (select count(*) from sessions) as n_sessions
    from failures
),

bets as (
    select
        failures.error as bet_key,
        'Sessions fail with `' || failures.error || '`' as title,
        cast(count(*) as varchar) || ' such errors in ' || cast(count(distinct failures.session_id) as varchar)
        || ' of ' || cast(max(budget.n_sessions) as varchar) || ' sessions.' as hypothesis,
        'Open one of the sessions at its error; remove the cause (limits, network, permissions) before anything else.'
            as apply_step,
        list(distinct failures.session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(120 * count(*) * $per_week as double) as tokens_saved_per_week
    from failures
    cross join budget
    where
        budget.n_errors >= $min_errors
        or (
            budget.n_sessions >= $min_sessions
            and budget.n_failed_sessions >= $min_share * budget.n_sessions
        )
    group by failures.error
)

select * from bets
