-- purpose: calls that a response was spent on alone: the list of tasks, asking whether something is done, and edits of
--   one file.
-- grain: one row per such call that the answer read alone; asking and edits of a file count from the second in a
--   row with no prompt between.
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
            when is_edit and not coalesce(failed, false) then 'edit'
        end as subject
    from calls
),

placed as (
    select
        *,
        lag(subject) over session as before_subject,
        lag(path) over session as before_path,
        lag(seq) over session as before_seq
    from sorted
    window session as (partition by session_id order by seq)
)

select
    session_id,
    seq,
    ts_ms,
    subject,
    reread_usd as cost_usd,
    reread_tokens as tokens,
    coalesce(command, path, tool) as detail,
    cast([] as varchar[]) as remedy
from placed
where
    answer_calls = 1
    and (
        subject = 'list'
        or (
            subject = before_subject
            and (subject = 'wait' or path = before_path)
            and not exists (
                select 1
                from prompts
                where prompts.session_id = placed.session_id and prompts.seq between placed.before_seq and placed.seq
            )
        )
    )
