-- purpose: what came out of each root session, as numbers for the metrics.
-- grain: one row per session that 'outcomes' has looked at, that a person gave a score (the last one counts), or that
-- kaizen-cli measured.
-- null: what cannot be known.
-- kaizen-cli's measurement of tests, build and linter says whether checks passed only where no command does.
with scores as (
    select
        session_id,
        arg_max(score, created_at_ms) as score
    from session_feedback
    where score is not null
    group by session_id
),

measured as (
    select
        session_id,
        case
            when test_failed > 0 or build_ok = 0 or lint_errors > 0 then 0e0
            when test_passed > 0 or build_ok = 1 or lint_errors = 0 then 1e0
        end as checks_passed
    from session_outcomes
    where measure_error is null
),

known as (
    select session_id from ka_outcomes
    union
    select session_id from scores
    union
    select session_id from measured
)

select
    known.session_id,
    coalesce(cast(ka_outcomes.checks_passed as double), measured.checks_passed) as checks_passed,
    cast(ka_outcomes.commits as double) as n_commits,
    cast(ka_outcomes.landed as double) as landed,
    cast(ka_outcomes.reverted as double) as reverted,
    cast(ka_outcomes.lines_added as double) as lines_added,
    cast(ka_outcomes.lines_surviving as double) as lines_surviving,
    cast(scores.score as double) as score
from known
left join ka_outcomes
    on known.session_id = ka_outcomes.session_id
left join scores
    on known.session_id = scores.session_id
left join measured
    on known.session_id = measured.session_id
