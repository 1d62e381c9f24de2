-- purpose: the table skills_used without its row ids.
-- grain: one row per session and skill.
-- null: never.
select
    session_id,
    skill
from skills_used
