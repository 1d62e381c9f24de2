-- id: H23
-- name: abandoned to-do lists
-- purpose: sessions that end with most of their to-do list undone.
-- grain: one row, or none.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 25
-- basis: estimate
-- metric: success_rate
-- needs: calls.todos_total
-- threshold: min_sessions = 3 (sessions of this kind)
-- threshold: min_items = 5 (items of the last list)
-- threshold: max_done_share = 0.4 (share of its items that are done)
-- saving: 120 x sessions.
with last_lists as (
    select
        session_id,
        arg_max(todos_total, seq) as n_items,
        arg_max(todos_done, seq) as n_done
    from calls
    where todos_total is not null
    group by session_id
),

bets as (
    select
        'todos' as bet_key,
        cast(count(*) as varchar) || ' sessions ended with most of their to-do list undone' as title,
        cast(sum(n_done) as varchar) || ' of ' || cast(sum(n_items) as varchar)
        || ' items were done. The task was larger than a session, or changed on the way.' as hypothesis,
        'Cut tasks so that one session can finish its list; leave lists out of tasks of a few steps.' as apply_step,
        list(session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(120 * count(*) * $per_week as double) as tokens_saved_per_week
    from last_lists
    where n_items >= $min_items and n_done < $max_done_share * n_items
    having count(*) >= $min_sessions
)

select * from bets
