-- purpose: what people said about sessions (score 1 to 5, a label), where kaizen-cli keeps it.
-- grain: one row per remark.
-- null: score or label where the remark has none.
select
    session_id,
    score,
    label,
    created_at_ms
from session_feedback
