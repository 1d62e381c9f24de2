-- purpose: each session counted by itself, sub-agents apart from the session that started them.
-- grain: one row per session.
-- null: never.
select
    id as session_id,
    id as root_id
from sessions
