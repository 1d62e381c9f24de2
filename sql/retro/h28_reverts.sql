-- id: H28
-- name: reverts
-- purpose: lines written in sessions that were reverted within two weeks.
-- grain: one row, or none.
-- null: never; sessions whose reverted lines are unknown do not count.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 25
-- basis: estimate
-- metric: success_rate
-- needs: session_outcomes.revert_lines_14d
-- threshold: min_lines = 100 (reverted lines in the window)
-- saving: 2 x reverted lines.
with reverts as (
    select
        session_id,
        revert_lines_14d
    from session_outcomes
    where revert_lines_14d > 0
),

bets as (
    select
        'reverts' as bet_key,
        cast(sum(revert_lines_14d) as varchar) || ' lines were reverted within two weeks' as title,
        cast(count(*) as varchar) || ' session(s) wrote code that did not stay.' as hypothesis,
        'Read the reverts: what was not known when the code was written? Work in smaller steps.' as apply_step,
        list(session_id) as evidence,
        cast(sum(revert_lines_14d) as bigint) as occurrences,
        cast(2 * sum(revert_lines_14d) * $per_week as double) as tokens_saved_per_week
    from reverts
    having sum(revert_lines_14d) >= $min_lines
)

select * from bets
