-- purpose: turns that only read, and what the same tokens cost on the next smaller model.
-- grain: one row per such turn of a session, and per sub-agent that only read; subject is who, the model and the next
--   smaller one. A turn goes from one prompt to the next.
-- null: dollars where the price of one of the two models is unknown.
with turned as (
    select
        responses.*,
        coalesce(prompts.seq, 0) as turn
    from responses
    asof left join prompts
        on responses.session_id = prompts.session_id and responses.seq > prompts.seq
),

acted as (
    select
        calls.session_id,
        coalesce(prompts.seq, 0) as turn,
        bool_and(calls.is_reading) as only_reads
    from calls
    asof left join prompts
        on calls.session_id = prompts.session_id and calls.seq > prompts.seq
    group by all
)

select
    turned.session_id,
    min(turned.seq) as seq,
    min(turned.ts_ms) as ts_ms,
    case when turned.session_id = turned.root_id then 'turns' else 'agents' end
    || ':' || turned.model || ':' || turned.smaller as subject,
    sum(turned.cost_usd - turned.smaller_usd) as cost_usd,
    cast(sum(turned.context_tokens + turned.output_tokens) as bigint) as tokens,
    cast(round(sum(turned.cost_usd), 4) as varchar) as detail,
    [any_value(turned.agent)] as remedy
from turned
inner join acted
    on turned.session_id = acted.session_id and turned.turn = acted.turn
where acted.only_reads and turned.smaller is not null
group by turned.session_id, turned.turn, turned.root_id, turned.model, turned.smaller
