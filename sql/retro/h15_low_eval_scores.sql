-- id: H15
-- name: low evaluation scores
-- purpose: sessions that a judge scored low, or scores that fall during the window.
-- grain: one row, or none.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 30
-- basis: estimate
-- metric: success_rate
-- needs: session_evals
-- threshold: max_score = 0.4 (a score below it is low)
-- threshold: min_low = 3 (low scores in the window)
-- threshold: min_scores = 6 (scores before their trend counts)
-- threshold: min_fall = 0.15 (fall of the mean from the first half to the second)
-- saving: 600 x low scores (all scores of the second half, where only the trend fires).
with scores as (
    select
        session_id,
        score,
        count(*) over () as n_scores,
        row_number() over (order by created_at_ms, session_id) * 2 > count(*) over () as is_second_half
    from session_evals
),

trend as (
    select
        max(n_scores) as n_scores,
        count(*) filter (where score < $max_score) as n_low,
        avg(score) filter (where not is_second_half) - avg(score) filter (where is_second_half) as fall,
        count(*) filter (where is_second_half) as n_second_half
    from scores
),

bets as (
    select
        'scores' as bet_key,
        case
            when max(trend.n_low) >= $min_low then cast(max(trend.n_low) as varchar) || ' sessions were scored low'
            else 'Evaluation scores fell by ' || printf('%.2f', max(trend.fall))
        end as title,
        cast(max(trend.n_low) as varchar) || ' of ' || cast(max(trend.n_scores) as varchar) || ' scores are below '
        || printf('%.1f', cast($max_score as double)) || '.' as hypothesis,
        'Read the three lowest sessions next to the rubric; agree on what should have happened.' as apply_step,
        list(distinct scores.session_id) as evidence,
        cast(case when max(trend.n_low) >= $min_low then max(trend.n_low) else max(trend.n_second_half) end as bigint)
            as occurrences,
        cast(
            600 * $per_week
            * case when max(trend.n_low) >= $min_low then max(trend.n_low) else max(trend.n_second_half) end as double
        ) as tokens_saved_per_week
    from scores
    cross join trend
    where
        (trend.n_low >= $min_low and scores.score < $max_score)
        or (
            trend.n_low < $min_low and trend.n_scores >= $min_scores and trend.fall >= $min_fall
            and scores.is_second_half
        )
    having count(*) > 0
)

select * from bets
