-- id: H20
-- name: cold cache
-- purpose: a model whose input is hardly ever read from the cache.
-- grain: one row per model.
-- null: never; responses that do not tell their cache reads do not count.
-- confidence: medium
-- category: hygiene
-- effort_minutes: 60
-- basis: measured
-- metric: cache_hit_rate
-- needs: responses.cache_read_tokens
-- threshold: min_responses = 20 (responses of the model)
-- threshold: max_share = 0.2 (share of the input that is read from the cache)
-- saving: (max_share - share) x input / 10, because a cached token costs a tenth.
with inputs as (
    select
        model,
        count(*) as n_responses,
        sum(cache_read_tokens) as cached,
        sum(cache_read_tokens + coalesce(tokens_in, 0) + coalesce(cache_creation_tokens, 0)) as input,
        list(distinct session_id) as evidence
    from responses
    where cache_read_tokens is not null
    group by model
),

bets as (
    select
        model as bet_key,
        'Only '
        || printf('%.0f %%', 100.0 * cached / input)
        || ' of the input of `'
        || model
        || '` comes from the cache'
            as title,
        cast(n_responses as varchar) || ' responses. Something near the start of the prompt changes from call to call.'
            as hypothesis,
        'Keep the system prompt, the tools and the first messages the same; put what changes (dates, states) last.'
            as apply_step,
        evidence,
        cast(n_responses as bigint) as occurrences,
        cast(($max_share - cached / input) * input / 10 * $per_week as double) as tokens_saved_per_week
    from inputs
    where n_responses >= $min_responses and input > 0 and cached < $max_share * input
)

select * from bets
