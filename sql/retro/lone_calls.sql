-- purpose: calls that a response was spent on alone: the list of tasks, and asking whether something is done.
-- grain: one row per such call that the answer read alone; asking counts from the second time in a row.
-- null: dollars and tokens where they are unknown. The cost is reading the context once more, not what was answered.
with sorted as (
    select
        *,
        case
            when lower(tool) in ('taskcreate', 'taskupdate', 'todowrite', 'todo_write', 'update_plan') then 'list'
            when
                lower(tool) in ('write_stdin', 'wait', 'wait_agent', 'bashoutput', 'taskoutput')
                or program = 'sleep'
                then 'wait'
        end as subject
    from calls
),

placed as (
    select
        *,
        lag(subject) over (partition by session_id order by seq) as before_subject
    from sorted
)

select
    session_id,
    seq,
    ts_ms,
    subject,
    reread_usd as cost_usd,
    reread_tokens as tokens,
    coalesce(command, tool) as detail,
    cast([] as varchar[]) as remedy
from placed
where answer_calls = 1 and (subject = 'list' or (subject = 'wait' and before_subject = 'wait'))
