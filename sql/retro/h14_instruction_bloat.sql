-- id: H14
-- name: instruction bloat
-- purpose: many skills and rules, or large ones, on disk.
-- grain: one row, or none.
-- null: never.
-- confidence: medium
-- category: investigation
-- effort_minutes: 50
-- basis: estimate
-- metric: tokens_per_session
-- needs: guidance
-- threshold: max_files = 22 (skills and rules on disk)
-- threshold: min_files = 10 (skills and rules before their size counts)
-- threshold: max_bytes = 140000 (size of all of them)
-- saving: bytes / 8.
with size_on_disk as (
    select
        count(*) as n_files,
        sum(bytes) as n_bytes,
        arg_max(path, bytes) as largest_path,
        max(bytes) as largest_bytes
    from guidance
),

bets as (
    select
        'guidance' as bet_key,
        cast(n_files as varchar) || ' skills and rules, ' || cast(cast(round(n_bytes / 1000) as bigint) as varchar)
        || ' kB in all' as title,
        'The more there are, the less each is followed. The largest is `' || largest_path || '` with '
        || cast(cast(round(largest_bytes / 1000) as bigint) as varchar) || ' kB.' as hypothesis,
        'Merge what overlaps and cut what code or tests already say; `kaizen-analytics guidance` lists the use of each.'
            as apply_step,
        cast([] as varchar[]) as evidence,
        cast(n_bytes as bigint) as occurrences,
        cast(n_bytes / 8 as double) as tokens_saved_per_week
    from size_on_disk
    where n_files >= $max_files or (n_files >= $min_files and n_bytes >= $max_bytes)
)

select * from bets
