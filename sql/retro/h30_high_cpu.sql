-- id: H30
-- name: high processor use
-- purpose: agent processes that kept the processor busy.
-- grain: one row, or none.
-- null: never; samples without a value do not count.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 15
-- basis: estimate
-- metric: duration_minutes
-- needs: session_samples.cpu_percent
-- threshold: max_percent = 80.0 (processor use of one process)
-- saving: 5 x the highest percentage.
with peaks as (
    select
        session_id,
        max(cpu_percent) as cpu_percent
    from session_samples
    group by session_id
),

bets as (
    select
        'cpu' as bet_key,
        'Agent processes used up to ' || printf('%.0f %%', max(cpu_percent)) || ' of a processor' as title,
        cast(count(*) as varchar) || ' session(s) were above ' || printf('%.0f %%', cast($max_percent as double))
        || '. A tool may run in a loop.' as hypothesis,
        'Find the process of the worst session, and stop what it starts over and over.' as apply_step,
        list(session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(5 * max(cpu_percent) as double) as tokens_saved_per_week
    from peaks
    where cpu_percent > $max_percent
    having count(*) > 0
)

select * from bets
