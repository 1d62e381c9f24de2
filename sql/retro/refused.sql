-- purpose: shell commands that an agent had to wait for, or that people refused.
-- grain: one row per waiting or refused call; subject is the program and its sub-command. remedy is its problem.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    action as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    command as detail,
    [problem] as remedy
from calls
where command is not null and problem in ('approval', 'refused')
