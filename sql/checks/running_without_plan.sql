-- purpose: a running experiment has a frozen plan.
-- grain: one row per experiment without one.
-- null: never.
-- severity: note
-- remedy: kaizen-cli started it; give it a plan with exp start ID.
select experiments.id as experiment_id
from experiments
left join ka_plans
    on experiments.id = ka_plans.experiment_id
where experiments.state = 'Running' and ka_plans.frozen_at_ms is null
