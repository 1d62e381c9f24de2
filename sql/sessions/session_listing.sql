-- purpose: what each session is and what it used, for a list to choose from.
-- grain: one row per session, sub-agents apart.
-- status: as stored without a time $now_ms; else by the age of the last event, so that no store depends on a clock.
-- null: a token sum that no response carries; cost_usd when no response has a price; priced_share, the share of all
-- tokens whose cost is known, when no response has tokens.
with counted as (
    select
        session_id,
        count(*) as events,
        count(*) filter (where is_prompt = 1) as prompts,
        count(*) filter (where kind = 'ToolCall') as tool_calls,
        count(*) filter (where kind = 'Error' or is_error = 1) as failures,
        count(*) filter (where is_unreliable = 1) as unreliable_responses,
        sum(tokens_in) as tokens_in,
        sum(cache_creation_tokens) as cache_creation_tokens,
        sum(cache_read_tokens) as cache_read_tokens,
        sum(tokens_out) as tokens_out,
        sum(reasoning_tokens) as reasoning_tokens,
        sum(cost_usd_e6) as cost_usd_e6,
        sum(
            coalesce(tokens_in, 0) + coalesce(cache_creation_tokens, 0) + coalesce(cache_read_tokens, 0)
            + coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0)
        ) as all_tokens,
        sum(
            case
                when cost_usd_e6 is not null
                    then
                        coalesce(tokens_in, 0) + coalesce(cache_creation_tokens, 0) + coalesce(cache_read_tokens, 0)
                        + coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0)
                else 0
            end
        ) as priced_tokens
    from staged_events
    group by session_id
),

aged as (
    select
        id,
        case
            when $now_ms is null then status
            -- A clock that is ahead says nothing about now.
            when $now_ms - coalesce(ended_at_ms, started_at_ms) <= -$running_ms then 'Done'
            when $now_ms - coalesce(ended_at_ms, started_at_ms) < $running_ms then 'Running'
            when $now_ms - coalesce(ended_at_ms, started_at_ms) < $idle_ms then 'Idle'
            else 'Done'
        end as status
    from sessions
),

listed as (
    select
        sessions.id as session_id,
        sessions.agent,
        sessions.model,
        sessions.workspace,
        sessions.branch,
        sessions.started_at_ms,
        sessions.ended_at_ms,
        sessions.parent_session_id,
        aged.status,
        coalesce(counted.events, 0)::bigint as events,
        coalesce(counted.prompts, 0)::bigint as prompts,
        coalesce(counted.tool_calls, 0)::bigint as tool_calls,
        coalesce(counted.failures, 0)::bigint as failures,
        coalesce(counted.unreliable_responses, 0)::bigint as unreliable_responses,
        counted.tokens_in::bigint as tokens_in,
        counted.cache_creation_tokens::bigint as cache_creation_tokens,
        counted.cache_read_tokens::bigint as cache_read_tokens,
        counted.tokens_out::bigint as tokens_out,
        counted.reasoning_tokens::bigint as reasoning_tokens,
        counted.cost_usd_e6::double / 1e6 as cost_usd,
        counted.priced_tokens::double / nullif(counted.all_tokens, 0) as priced_share
    from sessions
    inner join aged
        on sessions.id = aged.id
    left join counted
        on sessions.id = counted.session_id
)

select *
from listed
where
    ($agent is null or agent = $agent)
    and ($since_ms is null or started_at_ms >= $since_ms)
    and ($until_ms is null or started_at_ms < $until_ms)
    and ($folder is null or starts_with(workspace || '/', $folder))
order by started_at_ms desc, session_id asc
