-- id: H1
-- name: dead skill or rule
-- purpose: a skill, rule or sub-agent definition in the repository that no session of the look-back used and that
--   nobody changed for long.
-- grain: one row per file of guidance.
-- null: never; files whose last change is unknown do not count.
-- confidence: high
-- category: quick win
-- effort_minutes: 5
-- basis: estimate
-- metric: tokens_per_session
-- needs: guidance, events
-- threshold: min_events = 24 (events in the window, so that an empty week accuses nothing)
-- threshold: lookback_days = 30 (days without a use)
-- threshold: min_age_days = 60 (days since the file changed)
-- saving: bytes / 4 for each session of the week, at most 10 sessions.
with window_size as (
    select
        (select count(*) from events) as n_events,
        (
            select count(*) from sessions
            where parent_session_id is null
        ) as n_sessions
),

recent_use as (
    select distinct
        kind,
        name
    from guidance_use
    where started_at_ms >= $window_end_ms - $lookback_days * cast(86400000 as bigint)
),

-- Transcripts show the use of skills and sub-agents; that of rules only where some rule was seen at all.
visible_guidance as (
    select *
    from guidance
    where
        (kind = 'rule' and exists (
            select 1 from guidance_use
            where kind = 'rule'
        ))
        or (
            kind in ('skill', 'agent')
            and exists (
                select 1
                from sessions
                where (guidance.path like '.claude/%') = (sessions.agent = 'claude_code')
            )
        )
),

dead_guidance as (
    select visible_guidance.*
    from visible_guidance
    left join recent_use
        on visible_guidance.kind = recent_use.kind and lower(visible_guidance.name) = recent_use.name
    where
        recent_use.name is null
        and visible_guidance.changed_ms < $window_end_ms - $min_age_days * cast(86400000 as bigint)
),

bets as (
    select
        dead_guidance.path as bet_key,
        'The ' || dead_guidance.kind || ' `' || dead_guidance.path || '` has not been used for '
        || cast($lookback_days as varchar) || ' days' as title,
        'It is ' || cast(dead_guidance.bytes as varchar) || ' bytes long, was last changed '
        || cast(cast(floor(($window_end_ms - dead_guidance.changed_ms) / 86400000) as bigint) as varchar)
        || ' days ago and no session used it. Removing it costs nothing and shortens what agents read.' as hypothesis,
        'Delete `' || dead_guidance.path || '`, or merge what is still true into a file that is used.' as apply_step,
        cast([] as varchar[]) as evidence,
        cast(dead_guidance.bytes as bigint) as occurrences,
        cast(dead_guidance.bytes / 4.0 * least(10.0, window_size.n_sessions * $per_week) as double)
            as tokens_saved_per_week
    from dead_guidance
    cross join window_size
    where window_size.n_events >= $min_events
)

select * from bets
