-- purpose: every response with its time, its owner and what it used: the rows that usage is added up from.
-- grain: one row per event that carries usage; session_id is the root session.
-- null: pull_request before 'outcomes' looked for one; a model that nothing names; a missing token count or price.
with responses as (
    select
        *,
        -- try gives null for a payload that is not JSON.
        try(json_extract_string(payload, '$.model')) as own_model,
        coalesce(try_cast(try(json_extract_string(payload, '$.unreliable')) as boolean), false) as is_unreliable
    from events
    where coalesce(tokens_in, cache_creation_tokens, cache_read_tokens, tokens_out, reasoning_tokens) is not null
),

owned as (
    select
        session_roots.root_id as session_id,
        responses.ts_ms,
        sessions.agent,
        coalesce(responses.own_model, sessions.model) as model_name,
        sessions.workspace,
        sessions.branch,
        -- A session may move to another branch.
        coalesce(nullif(ka_places.branch, 'HEAD'), sessions.branch) as branch_then,
        ka_outcomes.pull_request,
        attributes.user as user_name,
        attributes.organisation,
        responses.tokens_in,
        responses.cache_creation_tokens,
        responses.cache_read_tokens,
        responses.tokens_out,
        responses.reasoning_tokens,
        responses.cost_usd_e6,
        responses.is_unreliable
    from responses
    inner join sessions
        on responses.session_id = sessions.id
    inner join session_roots
        on responses.session_id = session_roots.session_id
    asof left join ka_places
        on responses.session_id = ka_places.session_id and responses.seq >= ka_places.seq
    left join ka_session_attributes as attributes
        on responses.session_id = attributes.session_id
    left join ka_outcomes
        on session_roots.root_id = ka_outcomes.session_id
)

select *
from owned
where
    ($since_ms is null or ts_ms >= $since_ms)
    and ($until_ms is null or ts_ms < $until_ms)
    and ($agent is null or agent = $agent)
    and ($folder is null or starts_with(workspace || '/', $folder))
