-- purpose: every tag names an arm that both tools know.
-- grain: one row per tag with another text.
-- null: never.
-- severity: error
-- remedy: remove the tag with exp untag and set it again.
select
    experiment_id,
    session_id,
    variant
from experiment_tags
where variant not in ('Control', 'Treatment', 'Excluded')
