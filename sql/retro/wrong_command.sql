-- purpose: shell commands that cannot work here: a program, option, task or module that does not exist, a wrong folder,
--   and those that are cancelled because a call beside them fails.
-- grain: one row per failed call; subject is the kind of problem, the program and the thing.
-- null: dollars and tokens where they are unknown. remedy lists the commands of the session that worked soon after.
with shell as (
    select
        *,
        row_number() over (partition by session_id order by seq) as place
    from calls
    where command is not null
)

select
    failing.session_id,
    failing.seq,
    failing.ts_ms,
    case
        when failing.problem = 'sibling' then 'sibling::'
        else failing.problem || ':' || failing.program || ':' || failing.what
    end as subject,
    failing.wasted_usd as cost_usd,
    failing.wasted_tokens as tokens,
    failing.command as detail,
    (
        select coalesce(list(shell.command order by shell.place), [])
        from shell
        where
            shell.session_id = failing.session_id
            and shell.place > failing.place
            and shell.place <= failing.place + 8
            and not shell.failed
    ) as remedy
from shell as failing
where failing.failed and failing.problem in ('not_found', 'option', 'task', 'module', 'syntax', 'folder', 'sibling')
