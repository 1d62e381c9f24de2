-- purpose: how much of what a session wrote did not last.
-- grain: one row per session whose lines are old enough to tell, or whose commits were reverted.
-- null: never. lost_share is 1 for a session that was reverted.
select
    session_id,
    case
        when reverted > 0 then 1.0
        else 1.0 - least(lines_surviving, lines_added) / cast(lines_added as double)
    end as lost_share
from ka_outcomes
where reverted > 0 or (lines_added >= 20 and lines_surviving is not null)
