-- purpose: edits that the editor refuses.
-- grain: one row per refused edit; subject is the reason, detail the file.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    problem as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    replace(coalesce(path, ''), folder, '') as detail,
    cast([] as varchar[]) as remedy
from calls
where failed and problem in ('edit_unread', 'edit_changed', 'edit_missing', 'edit_ambiguous')
