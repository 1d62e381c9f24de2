-- id: H31
-- name: high memory use
-- purpose: agent processes that held much memory.
-- grain: one row, or none.
-- null: never; samples without a value do not count.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 20
-- basis: estimate
-- metric: duration_minutes
-- needs: session_samples.rss_bytes
-- threshold: min_bytes = 1000000000 (memory of one process at its peak)
-- saving: 500 x gigabytes at the peak.
with peaks as (
    select
        session_id,
        max(rss_bytes) as rss_bytes
    from session_samples
    group by session_id
),

bets as (
    select
        'memory' as bet_key,
        'Agent processes held up to ' || printf('%.1f GB', max(rss_bytes) / 1e9) || ' of memory' as title,
        cast(count(*) as varchar) || ' session(s) reached ' || printf('%.1f GB', $min_bytes / 1e9)
        || '. Long sessions keep all they have read.' as hypothesis,
        'End long sessions; restart the agent between tasks.' as apply_step,
        list(session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(500 * max(rss_bytes) / 1e9 as double) as tokens_saved_per_week
    from peaks
    where rss_bytes >= $min_bytes
    having count(*) > 0
)

select * from bets
