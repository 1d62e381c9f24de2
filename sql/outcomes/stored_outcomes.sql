-- purpose: what was found out about sessions before, with the folder that each ran in.
-- grain: one row per root session that 'outcomes' has looked at and the store still has.
-- null: what cannot be known; due_ms where no line waits to be counted; mark in rows of former versions.
select
    ka_outcomes.session_id,
    ka_outcomes.checks,
    cast(ka_outcomes.checks_passed as boolean) as checks_passed,
    ka_outcomes.commits,
    ka_outcomes.commit_ids,
    cast(ka_outcomes.landed as boolean) as landed,
    cast(ka_outcomes.reverted as boolean) as reverted,
    ka_outcomes.lines_added,
    ka_outcomes.lines_surviving,
    ka_outcomes.pull_request,
    ka_outcomes.reason,
    ka_outcomes.branch_tip,
    ka_outcomes.due_ms,
    ka_outcomes.mark,
    sessions.workspace
from ka_outcomes
inner join sessions
    on ka_outcomes.session_id = sessions.id
