-- purpose: the touched files of a lake that count: of each session only those of the source that was chosen for it.
-- grain: one row per session and file; session_id is the number of the session.
-- null: never.
-- reads: lake_files (files of a lake), chosen_sessions (session_id, source, number).
select
    chosen_sessions.number as session_id,
    lake_files.path
from lake_files
inner join chosen_sessions
    on
        lake_files.session_id = chosen_sessions.session_id
        and lake_files.source = chosen_sessions.source
