-- purpose: checks that fail where the next command is a formatter or fixer of the repository.
-- grain: one row per failed check that a fixer followed and subject: the check, and 'any' for all of them. remedy is
--   the fixer.
-- null: dollars and tokens where they are unknown.
with shell as (
    select
        *,
        row_number() over (partition by session_id order by seq) as place
    from calls
    where command is not null
)

select
    checked.session_id,
    checked.seq,
    any_value(checked.ts_ms) as ts_ms,
    unnest([any_value(checked.check), 'any']) as subject,
    -- The failed check and the fixer: two answers.
    any_value(checked.wasted_usd + checked.answer_usd) as cost_usd,
    any_value(checked.wasted_tokens + checked.answer_tokens) as tokens,
    any_value(checked.command) as detail,
    [arg_min(fixer.command, fixer.place)] as remedy
from shell as checked
inner join shell as fixer
    on
        checked.session_id = fixer.session_id
        and checked.place < fixer.place
        and fixer.place <= checked.place + 3
where
    checked.check_failed
    and checked.problem is null
    and checked.check_kind = 'lint'
    and not checked.is_fix
    and fixer.is_fix
    and fixer.problem is null
group by checked.session_id, checked.seq
