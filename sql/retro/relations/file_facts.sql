-- purpose: size and complexity of each file, where kaizen-cli measured it; of several snapshots, the largest values.
-- grain: one row per path.
-- null: never.
select
    path,
    max(loc) as loc,
    max(bytes) as bytes,
    max(complexity_total) as complexity_total
from file_facts
group by path
