-- purpose: edits that the editor refuses.
-- grain: one row per refused edit and subject: the reason, and 'edit' for all of them. detail is the file, remedy the
--   reason.
-- null: dollars and tokens where they are unknown.
select
    session_id,
    seq,
    ts_ms,
    unnest([problem, 'edit']) as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    replace(coalesce(path, ''), folder, '') as detail,
    [problem] as remedy
from calls
where failed and problem in ('edit_unread', 'edit_changed', 'edit_missing', 'edit_ambiguous')
