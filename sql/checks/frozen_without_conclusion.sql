-- purpose: an experiment with a frozen result is concluded or archived.
-- grain: one row per experiment in another state, or unknown.
-- null: state is null for an unknown experiment.
-- severity: error
-- remedy: another tool changed the state; its frozen result stays what it is.
with known as (
    select
        id,
        state
    from experiments
    union all
    select
        id,
        state
    from ka_experiments
)

select
    ka_results.experiment_id,
    known.state
from ka_results
left join known
    on ka_results.experiment_id = known.id
where known.state is null or known.state not in ('Concluded', 'Archived')
