-- id: H27
-- name: failing tests
-- purpose: sessions that leave many tests failing.
-- grain: one row, or none.
-- null: never; outcomes without test counts do not count.
-- confidence: high
-- category: investigation
-- effort_minutes: 30
-- basis: estimate
-- metric: success_rate
-- needs: session_outcomes.test_failed
-- threshold: min_runs = 5 (tests that an outcome must have run)
-- threshold: max_failed_share = 0.2 (share of them that failed)
-- saving: 2000 x share of failed tests.
with outcomes as (
    select
        session_id,
        test_failed,
        coalesce(test_passed, 0) + test_failed as n_runs
    from session_outcomes
    where test_failed is not null
),

bets as (
    select
        'tests' as bet_key,
        cast(count(*) as varchar) || ' session(s) left more than '
        || printf('%.0f %%', 100.0 * $max_failed_share) || ' of their tests failing' as title,
        cast(sum(test_failed) as varchar) || ' of ' || cast(sum(n_runs) as varchar)
        || ' tests failed after them. The next agent cannot tell its own mistakes from old ones.' as hypothesis,
        'Make the tests pass on the main branch, and have agents run them before they stop.' as apply_step,
        list(session_id) as evidence,
        cast(sum(test_failed) as bigint) as occurrences,
        cast(2000 * sum(test_failed) / sum(n_runs) * $per_week as double) as tokens_saved_per_week
    from outcomes
    where n_runs >= $min_runs and test_failed > $max_failed_share * n_runs
    having count(*) > 0
)

select * from bets
