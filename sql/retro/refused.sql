-- purpose: commands that people refuse.
-- grain: one row per refused call; subject is the program and its sub-command.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    action as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    command as detail,
    cast([] as varchar[]) as remedy
from calls
where command is not null and (problem = 'refused' or rejected)
