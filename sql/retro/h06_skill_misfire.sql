-- id: H6
-- name: skill misfire
-- purpose: a skill that is loaded, after which nothing is done before the next prompt.
-- grain: one row per skill.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 20
-- basis: estimate
-- metric: tokens_per_session
-- needs: events.skill
-- threshold: min_loads = 10 (times the skill was loaded)
-- threshold: min_ignored_share = 0.7 (share of the loads after which no tool was called)
-- saving: 150 x loads without effect.
with marked_events as (
    select
        session_id,
        seq,
        kind,
        skill,
        coalesce(is_prompt, 0) as is_prompt,
        sum(coalesce(is_prompt, 0)) over (partition by session_id order by ts_ms, seq) as turn
    from events
),

loads as (
    select
        session_id,
        turn,
        skill,
        min(seq) as seq
    from marked_events
    where skill is not null
    group by session_id, turn, skill
),

outcomes as (
    select
        loads.session_id,
        replace(loads.skill, '`', '''') as skill,
        count(marked_events.seq) as n_calls
    from loads
    left join marked_events
        on
            loads.session_id = marked_events.session_id
            and loads.turn = marked_events.turn
            and loads.seq < marked_events.seq
            and marked_events.kind = 'ToolCall'
            and marked_events.skill is null
    group by loads.session_id, loads.turn, loads.seq, loads.skill
),

bets as (
    select
        skill as bet_key,
        'The skill `' || skill || '` is loaded but not followed' as title,
        cast(count(*) filter (where n_calls = 0) as varchar) || ' of ' || cast(count(*) as varchar)
        || ' loads led to no tool call before the next prompt. Its description promises something it does not do.'
            as hypothesis,
        'Rewrite the description of `' || skill || '` so that it names when to use it, and when not.' as apply_step,
        list(distinct session_id) filter (where n_calls = 0) as evidence,
        cast(count(*) filter (where n_calls = 0) as bigint) as occurrences,
        cast(150 * count(*) filter (where n_calls = 0) * $per_week as double) as tokens_saved_per_week
    from outcomes
    group by skill
    having count(*) >= $min_loads and count(*) filter (where n_calls = 0) >= $min_ignored_share * count(*)
)

select * from bets
