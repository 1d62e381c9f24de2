-- id: H24
-- name: rejected edits
-- purpose: edits that a person refused.
-- grain: one row, or none.
-- null: never; edits whose outcome is unknown do not count.
-- confidence: medium
-- category: investigation
-- effort_minutes: 30
-- basis: estimate
-- metric: tool_error_rate
-- needs: calls.is_error
-- threshold: min_edits = 8 (edits with a known outcome)
-- threshold: min_share = 0.15 (share of them that were rejected)
-- saving: 90 x rejected edits.
with edits as (
    select
        session_id,
        is_rejected
    from calls
    where tool_class = 'edit' and is_error is not null
),

bets as (
    select
        'edits' as bet_key,
        cast(count(*) filter (where is_rejected) as varchar) || ' of ' || cast(count(*) as varchar)
        || ' edits were rejected' as title,
        'A person read each of them and said no: the agent did not know a rule that the person has.' as hypothesis,
        'Look at three rejected edits, and write the rule behind each into the guidance.' as apply_step,
        list(distinct session_id) filter (where is_rejected) as evidence,
        cast(count(*) filter (where is_rejected) as bigint) as occurrences,
        cast(90 * count(*) filter (where is_rejected) * $per_week as double) as tokens_saved_per_week
    from edits
    having count(*) >= $min_edits and count(*) filter (where is_rejected) >= $min_share * count(*)
)

select * from bets
