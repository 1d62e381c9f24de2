-- purpose: every response has a price.
-- grain: one row per agent and model with responses that have none.
-- null: model is null where the agent did not say.
-- severity: note
-- remedy: add the model's price; the cost of these sessions is unknown until then.
select
    sessions.agent,
    sessions.model,
    count(*) as responses
from events
inner join sessions
    on events.session_id = sessions.id
where
    events.cost_usd_e6 is null
    and coalesce(
        events.tokens_in,
        events.tokens_out,
        events.reasoning_tokens,
        events.cache_creation_tokens,
        events.cache_read_tokens
    ) is not null
group by sessions.agent, sessions.model
