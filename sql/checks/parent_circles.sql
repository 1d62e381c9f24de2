-- purpose: no chain of parent sessions leads back to itself.
-- grain: one row per session of a circle, or below one.
-- null: a session without a stored parent passes.
-- severity: error
-- remedy: ingest again; until then each of these sessions is counted by itself.
-- reads: sessions, session_roots (staging/session_roots.sql).
select
    child.id as session_id,
    child.parent_session_id
from sessions as child
inner join sessions as parent
    on child.parent_session_id = parent.id
inner join session_roots
    on child.id = session_roots.session_id
where session_roots.root_id = child.id
