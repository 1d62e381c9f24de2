-- id: H38
-- name: stopped calls
-- purpose: tool calls that a person refused or interrupted, by tool or program; edits are H24's.
-- grain: one row per tool or program.
-- null: never.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 15
-- basis: estimate
-- metric: prompts_per_session
-- needs: calls.is_error
-- threshold: min_stops = 3 (stopped calls of the tool or program)
-- threshold: min_share = 0.1 (share of its calls)
-- saving: 400 x stopped calls.
with actions as (
    select
        session_id,
        coalesce(program, tool) as action,
        is_rejected or is_interrupted as is_stopped
    from calls
    where tool_class <> 'edit'
),

bets as (
    select
        action as bet_key,
        'People stopped `'
        || action
        || '` '
        || cast(count(*) filter (where is_stopped) as varchar)
        || ' times' as title,
        'Of ' || cast(count(*) as varchar) || ' calls. The agent asks for, or does, something that people do not want.'
            as hypothesis,
        'Forbid it in the agent''s settings, or say in the guidance what to do instead; allow it if it is harmless.'
            as apply_step,
        list(distinct session_id) filter (where is_stopped) as evidence,
        cast(count(*) filter (where is_stopped) as bigint) as occurrences,
        cast(400 * count(*) filter (where is_stopped) * $per_week as double) as tokens_saved_per_week
    from actions
    group by action
    having
        count(*) filter (where is_stopped) >= $min_stops
        and count(*) filter (where is_stopped) >= $min_share * count(*)
)

select * from bets
