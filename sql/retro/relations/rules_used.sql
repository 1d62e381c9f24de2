-- purpose: the table rules_used without its row ids.
-- grain: one row per session and rule.
-- null: never.
select
    session_id,
    rule
from rules_used
