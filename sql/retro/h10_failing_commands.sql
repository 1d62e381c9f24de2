-- id: H10
-- name: failing shell commands
-- purpose: a program that fails several times in a row in one session.
-- grain: one row per program.
-- null: never; a result whose outcome is unknown is no failure.
-- confidence: high
-- category: investigation
-- effort_minutes: 45
-- basis: estimate
-- metric: tool_error_rate
-- needs: calls.is_error
-- threshold: min_failures = 3 (failures of the program in a row, in one session)
-- threshold: exploration = '^(grep|egrep|rg|find|fd|ls|diff|test|which|cat|sed|awk|jq)$'
--   (programs whose exit code 1 means that nothing was found)
-- saving: 400 x failures in a row.
with runs as (
    select
        session_id,
        coalesce(program, tool) as program,
        is_error,
        row_number() over (partition by session_id, coalesce(program, tool) order by ts_ms, seq)
        - row_number() over (partition by session_id, coalesce(program, tool), is_error order by ts_ms, seq) as island
    from calls
    where
        tool_class = 'shell' and is_error is not null and not is_rejected and not is_interrupted
        and not regexp_matches(coalesce(program, tool), $exploration)
),

stretches as (
    select
        session_id,
        program,
        count(*) as n_failures
    from runs
    where is_error = 1
    group by session_id, program, island
    having count(*) >= $min_failures
),

session_failures as (
    select
        session_id,
        program,
        sum(n_failures) as n_failures,
        max(n_failures) as n_longest
    from stretches
    group by session_id, program
),

programs as (
    select
        coalesce(program, tool) as program,
        count(*) filter (where is_error = 1 and not is_rejected) as n_failures,
        count(*) as n_calls
    from calls
    where tool_class = 'shell'
    group by coalesce(program, tool)
),

bets as (
    select
        session_failures.program as bet_key,
        '`' || session_failures.program || '` failed up to ' || cast(max(session_failures.n_longest) as varchar)
        || ' times in a row' as title,
        cast(max(programs.n_failures) as varchar) || ' of ' || cast(max(programs.n_calls) as varchar)
        || ' calls failed, ' || cast(sum(session_failures.n_failures) as varchar)
        || ' of them one after the other in ' || cast(count(*) as varchar)
        || ' session(s).' as hypothesis,
        'Write down the call that works (arguments, folder, environment) where agents read it, or mend the command.'
            as apply_step,
        list(session_failures.session_id) as evidence,
        cast(sum(session_failures.n_failures) as bigint) as occurrences,
        cast(400 * sum(session_failures.n_failures) * $per_week as double) as tokens_saved_per_week
    from session_failures
    inner join programs
        on session_failures.program = programs.program
    group by session_failures.program
)

select * from bets
