-- purpose: what a judge made of sessions, from 0 to 1, where kaizen-cli keeps it.
-- grain: one row per evaluation.
-- null: never.
select
    session_id,
    cast(score as double) as score,
    created_at_ms
from session_evals
