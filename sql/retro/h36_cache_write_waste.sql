-- id: H36
-- name: cache-write waste
-- purpose: tokens written to the cache that the next response did not read from it.
-- grain: one row for losses after a pause, one for losses without a pause.
-- null: never; responses that do not tell their cache reads do not count, nor does a session's last response.
-- confidence: medium
-- category: investigation
-- effort_minutes: 40
-- basis: measured
-- metric: cache_hit_rate
-- needs: responses.cache_creation_tokens, responses.cache_read_tokens
-- threshold: min_tokens = 200000 (lost tokens of one cause)
-- threshold: min_share = 0.05 (share of all tokens written to the cache)
-- threshold: pause_minutes = 5 (the time after which a cache forgets)
-- saving: half the lost tokens.
with successions as (
    select
        session_id,
        model,
        ts_ms,
        cache_creation_tokens as written,
        coalesce(cache_read_tokens, 0) + cache_creation_tokens as held,
        lead(cache_read_tokens) over succession as next_read,
        lead(ts_ms) over succession as next_ms
    from responses
    where cache_creation_tokens is not null
    window succession as (partition by session_id, model order by position)
),

compactions as (
    select
        session_id,
        ts_ms
    from events
    where kind = 'Lifecycle' and lifecycle = 'compaction'
),

-- What was written and is not read next is lost; a compaction replaces the context on purpose.
losses as (
    select
        successions.session_id,
        case
            when successions.next_ms - successions.ts_ms > $pause_minutes * cast(60000 as bigint) then 'pause'
            else 'prefix'
        end as cause,
        greatest(successions.held - successions.next_read, 0) as lost
    from successions
    left join compactions
        on
            successions.session_id = compactions.session_id
            and compactions.ts_ms between successions.ts_ms and successions.next_ms
    where successions.next_read is not null and compactions.session_id is null
),

written as (
    select sum(written) as tokens
    from successions
),

bets as (
    select
        losses.cause as bet_key,
        format('{:,}', cast(sum(losses.lost) as bigint)) || ' cached tokens were lost '
        || case when losses.cause = 'pause' then 'during pauses' else 'without a pause' end as title,
        case
            when losses.cause = 'pause'
                then
                    'After ' || cast($pause_minutes as varchar)
                    || ' minutes the cache forgets; the next prompt pays for the whole context again. It happened '
            else
                'The start of the prompt changed (tools, model, instructions); the cache no longer fitted. It happened '
        end || cast(count(*) as varchar) || ' times in ' || cast(count(distinct losses.session_id) as varchar)
        || ' session(s).' as hypothesis,
        case
            when losses.cause = 'pause'
                then
                    'Before a break end the task or compact it; start afresh after a long one; or use a one-hour cache.'
            else 'Choose model, tools and servers at the start of a session, and leave them as they are.'
        end as apply_step,
        list(distinct losses.session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(sum(losses.lost) / 2 * $per_week as double) as tokens_saved_per_week
    from losses
    cross join written
    where losses.lost > 0
    group by losses.cause
    having sum(losses.lost) >= $min_tokens and sum(losses.lost) >= $min_share * max(written.tokens)
)

select * from bets
