-- id: H22
-- name: truncation
-- purpose: responses that end because they reached the output limit.
-- grain: one row, or none.
-- null: never; responses without a stop reason do not count.
-- confidence: medium
-- category: investigation
-- effort_minutes: 30
-- basis: estimate
-- metric: tokens_per_session
-- needs: responses.stop_reason
-- threshold: min_share = 0.1 (share of the responses)
-- threshold: min_responses = 20 (responses with a stop reason)
-- saving: 800 x truncated responses.
with stops as (
    select
        session_id,
        stop_reason in ('max_tokens', 'length') as is_truncated,
        count(*) over () as n_responses
    from responses
    where stop_reason is not null
),

bets as (
    select
        'max_tokens' as bet_key,
        cast(count(*) as varchar) || ' of ' || cast(max(n_responses) as varchar) || ' responses were cut off' as title,
        'A response that reaches the output limit is paid for and then written again.' as hypothesis,
        'Raise the output limit, or ask for smaller steps: one file at a time, edits instead of whole files.'
            as apply_step,
        list(distinct session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(800 * count(*) * $per_week as double) as tokens_saved_per_week
    from stops
    where is_truncated
    having max(n_responses) >= $min_responses and count(*) >= $min_share * max(n_responses)
)

select * from bets
