-- purpose: a running experiment has a frozen plan.
-- grain: one row per experiment without one.
-- null: never.
-- severity: note
-- remedy: another tool started it; give it a plan with exp start ID --adopt.
with running as (
    select id from experiments
    where state = 'Running'
    union all
    select id from ka_experiments
    where state = 'Running'
)

select running.id as experiment_id
from running
left join ka_plans
    on running.id = ka_plans.experiment_id
where ka_plans.frozen_at_ms is null
