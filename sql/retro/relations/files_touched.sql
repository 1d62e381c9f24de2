-- purpose: the table files_touched without its row ids.
-- grain: one row per session and path.
-- null: never.
select
    session_id,
    path
from files_touched
