-- id: H17
-- name: human feedback
-- purpose: people marked sessions as bad, or scored them low.
-- grain: one row, or none.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 30
-- basis: estimate
-- metric: success_rate
-- needs: session_feedback
-- threshold: min_bad = 2 (remarks labelled bad or regression)
-- threshold: min_scores = 5 (scores before their mean counts)
-- threshold: max_mean = 2.5 (mean score, of 1 to 5)
-- saving: 800 x bad remarks (scores of 1 and 2, where only the mean fires).
with remarks as (
    select
        session_id,
        score,
        coalesce(label in ('bad', 'regression'), false) as is_bad
    from session_feedback
),

summary as (
    select
        count(*) filter (where is_bad) as n_bad,
        count(score) as n_scores,
        avg(score) as mean_score,
        count(*) filter (where score <= 2) as n_low
    from remarks
),

bets as (
    select
        'feedback' as bet_key,
        case
            when max(summary.n_bad) >= $min_bad
                then cast(max(summary.n_bad) as varchar) || ' sessions were marked bad or as a regression'
            else 'People scored sessions ' || printf('%.1f', max(summary.mean_score)) || ' of 5 on average'
        end as title,
        cast(max(summary.n_scores) as varchar) || ' scores, ' || cast(max(summary.n_bad) as varchar)
        || ' bad remarks in the window.' as hypothesis,
        'Ask the people who wrote the remarks what they expected, and write it into the guidance.' as apply_step,
        list(distinct remarks.session_id) as evidence,
        cast(case when max(summary.n_bad) >= $min_bad then max(summary.n_bad) else max(summary.n_low) end as bigint)
            as occurrences,
        cast(
            800
            * $per_week
            * case when max(summary.n_bad) >= $min_bad then max(summary.n_bad) else max(summary.n_low) end
            as double
        ) as tokens_saved_per_week
    from remarks
    cross join summary
    where
        (summary.n_bad >= $min_bad and remarks.is_bad)
        or (
            summary.n_bad < $min_bad and summary.n_scores >= $min_scores and summary.mean_score <= $max_mean
            and remarks.score <= 2
        )
    having count(*) > 0
)

select * from bets
