-- purpose: every frozen result has the sample that it rests on.
-- grain: one row per result without sample, or sample without result.
-- null: never.
-- severity: error
-- remedy: restore the store from a backup.
with sampled as (
    select distinct experiment_id from ka_samples
)

select coalesce(ka_results.experiment_id, sampled.experiment_id) as experiment_id
from ka_results
full join sampled
    on ka_results.experiment_id = sampled.experiment_id
where ka_results.experiment_id is null or sampled.experiment_id is null
