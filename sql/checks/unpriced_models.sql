-- purpose: every response has a price.
-- grain: one row per agent and model, at its speed, with responses that have none.
-- null: model_name is null where the agent did not say.
-- severity: note
-- remedy: add the model's price; the cost of these sessions leaves these responses out until then.
with unpriced as (
    select
        session_id,
        try(json_extract_string(payload, '$.model'))
        || coalesce(' (' || try(json_extract_string(payload, '$.speed')) || ')', '') as model_name
    from events
    where
        cost_usd_e6 is null
        and coalesce(tokens_in, tokens_out, reasoning_tokens, cache_creation_tokens, cache_read_tokens) is not null
)

select
    sessions.agent,
    unpriced.model_name,
    count(*) as responses
from unpriced
inner join sessions
    on unpriced.session_id = sessions.id
group by 1, 2
