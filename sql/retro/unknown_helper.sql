-- purpose: skills and agent types that agents call and that do not exist, nor later.
-- grain: one row per failed call; subject is the tool and the name.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    tool || ':' || coalesce(helper, what) as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    what as detail,
    cast([] as varchar[]) as remedy
from calls
where
    failed
    and problem = 'helper'
    and (helper is not null or contains(command, what))
    and not exists (
        select 1
        from calls as later
        where
            later.repository = calls.repository
            and later.ts_ms > calls.ts_ms
            and later.helper = calls.helper
            and not later.failed
    )
