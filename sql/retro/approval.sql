-- purpose: commands that only read and that an agent had to wait for, or was refused.
-- grain: one row per refused or waiting call; subject is the program. remedy is the agent.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    program as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    command as detail,
    [agent] as remedy
from calls
where command is not null and (problem in ('approval', 'refused') or rejected)
