-- id: H33
-- name: automation cue
-- purpose: a program run many times in a row, or a cycle of two or three actions with a program that repeats.
-- grain: one row per repeated action or cycle.
-- null: never.
-- confidence: high
-- category: investigation
-- effort_minutes: 25
-- basis: estimate
-- metric: tool_loops
-- needs: calls
-- threshold: min_run = 5 (equal programs in a row)
-- threshold: min_pairs = 3 (times that a cycle of two actions repeats)
-- threshold: min_triples = 2 (times that a cycle of three actions repeats)
-- threshold: min_sessions = 2 (sessions in which it was seen)
-- threshold: exploration = '^(ls|cat|head|tail|sed|awk|grep|rg|find|fd|nl|wc|cd|echo|pwd|which|tree|jq|stat|sleep|
--   git.(show|log|diff|status|blame|grep))$'
--   (programs that explore; a run of them is no routine)
-- saving: 150 for each call after the first of a run; 200 for each repeated cycle; x 1.25 if in two sessions or more.
with actions as (
    select
        session_id,
        row_number() over (partition by session_id order by ts_ms, seq) as place,
        coalesce(program, tool) as action,
        tool_class
    from calls
),

periods as (
    select unnest([1, 2, 3]) as period
),

matches as (
    select
        actions.session_id,
        actions.place,
        actions.action,
        actions.tool_class,
        periods.period,
        actions.action = lag(actions.action, 1) over sequence as equals_first,
        actions.action = lag(actions.action, 2) over sequence as equals_second,
        actions.action = lag(actions.action, 3) over sequence as equals_third
    from actions
    cross join periods
    window sequence as (partition by actions.session_id, periods.period order by actions.place)
),

islands as (
    select
        session_id,
        place,
        action,
        tool_class,
        period,
        place - row_number() over (partition by session_id, period order by place) as island
    from matches
    where
        (period = 1 and equals_first and tool_class = 'shell' and not regexp_matches(action, $exploration))
        or (period = 2 and equals_second and not equals_first)
        or (period = 3 and equals_third and not equals_first and not equals_second)
),

stretches as (
    select
        session_id,
        period,
        island,
        count(*) as n_matches,
        array_to_string(list_sort(list(distinct action)), ' + ') as cycle,
        bool_or(tool_class = 'shell' and not regexp_matches(action, $exploration)) as is_routine
    from islands
    group by session_id, period, island
),

cycles as (
    select
        session_id,
        period,
        cycle,
        case when period = 1 then n_matches + 1 else n_matches // period + 1 end as n_repeats
    from stretches
    where is_routine
),

bets as (
    select
        cycle as bet_key,
        case
            when max(period) = 1
                then
                    '`' || cycle || '` runs up to ' || cast(max(n_repeats) as varchar)
                    || ' times in a row'
            else '`' || cycle || '` repeat in turn up to ' || cast(max(n_repeats) as varchar) || ' times'
        end as title,
        'Seen ' || cast(count(*) as varchar) || ' times in ' || cast(count(distinct session_id) as varchar)
        || ' session(s). What a machine does over and over it can do in one step.' as hypothesis,
        'Write a script, a make target or a hook that does the whole sequence, and name it in the guidance.'
            as apply_step,
        list(distinct session_id) as evidence,
        cast(sum(n_repeats) as bigint) as occurrences,
        cast(
            sum(case when period = 1 then 150 * (n_repeats - 1) else 200 * n_repeats end)
            * case when count(distinct session_id) >= 2 then 1.25 else 1 end * $per_week as double
        ) as tokens_saved_per_week
    from cycles
    where
        (period = 1 and n_repeats >= $min_run)
        or (period = 2 and n_repeats >= $min_pairs)
        or (period = 3 and n_repeats >= $min_triples)
    group by period, cycle
    having count(distinct session_id) >= $min_sessions
)

select * from bets
