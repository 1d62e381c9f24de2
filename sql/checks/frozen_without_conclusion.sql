-- purpose: an experiment with a frozen result is concluded or archived.
-- grain: one row per experiment in another state, or unknown.
-- null: state is null for an unknown experiment.
-- severity: error
-- remedy: another program changed the state; restore the store from a backup.
select
    ka_results.experiment_id,
    experiments.state
from ka_results
left join experiments
    on ka_results.experiment_id = experiments.id
where experiments.state is null or experiments.state not in ('Concluded', 'Archived')
