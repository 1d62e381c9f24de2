-- id: H35
-- name: compaction churn
-- purpose: sessions whose context was compacted more than once.
-- grain: one row, or none.
-- null: never.
-- confidence: high
-- category: investigation
-- effort_minutes: 30
-- basis: measured
-- metric: tokens_per_session
-- needs: responses, events
-- threshold: min_compactions = 2 (compactions in one session)
-- saving: the new input of the first response after each compaction but a session's first.
with compactions as (
    select
        session_id,
        ts_ms,
        row_number() over (partition by session_id order by ts_ms, seq) as place,
        count(*) over (partition by session_id) as n_compactions
    from events
    where kind = 'Lifecycle' and lifecycle = 'compaction'
),

-- The response at the very time of a compaction may be the one that wrote the summary.
restarts as (
    select
        compactions.session_id,
        compactions.place,
        max(compactions.n_compactions) as n_compactions,
        coalesce(
            arg_min(
                coalesce(responses.tokens_in, 0) + coalesce(responses.cache_creation_tokens, 0), responses.ts_ms
            ),
            0
        ) as tokens
    from compactions
    left join responses
        on compactions.session_id = responses.session_id and compactions.ts_ms < responses.ts_ms
    group by compactions.session_id, compactions.place
),

bets as (
    select
        'compaction' as bet_key,
        cast(count(distinct session_id) as varchar) || ' session(s) were compacted up to '
        || cast(max(n_compactions) as varchar) || ' times' as title,
        'After a compaction the agent reads again what it already knew, and forgets what was agreed. Restarting took '
        || format('{:,}', cast(sum(tokens) filter (where place > 1) as bigint)) || ' tokens beyond the first time.'
            as hypothesis,
        'Stop at the first compaction: write down the state, and go on in a new session.' as apply_step,
        list(distinct session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(sum(tokens) filter (where place > 1) * $per_week as double) as tokens_saved_per_week
    from restarts
    where n_compactions >= $min_compactions
    having count(*) > 0
)

select * from bets
