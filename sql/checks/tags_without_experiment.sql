-- purpose: every tag belongs to a known experiment.
-- grain: one row per unknown experiment.
-- null: never.
-- severity: error
-- remedy: another program deleted the experiment; restore the store from a backup.
select
    experiment_tags.experiment_id,
    count(*) as tags
from experiment_tags
left join experiments
    on experiment_tags.experiment_id = experiments.id
where experiments.id is null
group by experiment_tags.experiment_id
