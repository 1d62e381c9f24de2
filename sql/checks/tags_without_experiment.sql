-- purpose: every tag belongs to a known experiment.
-- grain: one row per unknown experiment.
-- null: never.
-- severity: error
-- remedy: restore the experiment, or delete its tags with kaizen-cli.
with known as (
    select id from experiments
    union all
    select id from ka_experiments
)

select
    experiment_tags.experiment_id,
    count(*) as tags
from experiment_tags
left join known
    on experiment_tags.experiment_id = known.id
where known.id is null
group by experiment_tags.experiment_id
