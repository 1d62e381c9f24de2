-- id: H34
-- name: repeated identical failure
-- purpose: one command that fails with the same message in several sessions; an exit code alone is no message.
-- grain: one row per command, with its most frequent message.
-- null: never; a result whose outcome is unknown is no failure.
-- confidence: high
-- category: quick win
-- effort_minutes: 15
-- basis: estimate
-- metric: tool_error_rate
-- needs: calls.is_error, calls.command
-- threshold: min_sessions = 2 (sessions in which it failed)
-- threshold: min_failures = 3 (failures in the window)
-- saving: 600 x failures after the first.
with failures as (
    select
        session_id,
        left(command, 200) as command,
        left(
            trim(
                regexp_replace(
                    coalesce(error, ''),
                    '(Exit code:?|exit|Process exited with code|Wall time:) [-0-9.]+( seconds)?|Chunk ID: \w+|Output:',
                    '',
                    'g'
                )
            ),
            80
        ) as error
    from calls
    where tool_class = 'shell' and is_error = 1 and not is_rejected and not is_interrupted and command is not null
),

bets as (
    select
        case when len(command) > 60 then left(command, 60) || '~' || left(md5(command), 6) else command end as bet_key,
        '`' || left(command, 80) || '` fails in the same way again and again' as title,
        cast(count(*) as varchar) || ' failures in ' || cast(count(distinct session_id) as varchar) || ' sessions'
        || ', each with `' || error || '`. Every new session learns it again.' as hypothesis,
        'Make the command work, or tell agents in the guidance what to run instead.' as apply_step,
        list(distinct session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(600 * (count(*) - 1) * $per_week as double) as tokens_saved_per_week
    from failures
    where error <> ''
    group by command, error
    having count(*) >= $min_failures and count(distinct session_id) >= $min_sessions
    qualify row_number() over (partition by command order by count(*) desc, error) = 1
)

select * from bets
