-- id: H29
-- name: lint and test debt
-- purpose: outcomes with many lint errors or failed tests.
-- grain: one row, or none.
-- null: never; a count that was not measured counts 0.
-- confidence: high
-- category: quick win
-- effort_minutes: 20
-- basis: estimate
-- metric: tool_error_rate
-- needs: session_outcomes
-- threshold: max_findings = 20 (lint errors, or failed tests, of one outcome)
-- saving: 800 + 10 x lint errors of the worst outcome.
with outcomes as (
    select
        session_id,
        coalesce(lint_errors, 0) as lint_errors,
        coalesce(test_failed, 0) as test_failed
    from session_outcomes
),

bets as (
    select
        'debt' as bet_key,
        'Sessions end with up to ' || cast(max(lint_errors) as varchar) || ' lint errors and '
        || cast(max(test_failed) as varchar) || ' failed tests' as title,
        'Old findings hide new ones: agents read all of them after every change.' as hypothesis,
        'Clear the findings once, then let a hook run lint and tests on changed files.' as apply_step,
        list(session_id) as evidence,
        cast(max(lint_errors) + max(test_failed) as bigint) as occurrences,
        cast(800 + 10 * max(lint_errors) as double) as tokens_saved_per_week
    from outcomes
    where lint_errors > $max_findings or test_failed > $max_findings
    having count(*) > 0
)

select * from bets
