-- purpose: prompts at which a new session would have cost less than carrying the former work on.
-- grain: one row per session: its prompt (of 40 characters or more, not the first) at which a new session saves most.
-- null: never; sessions without prices, and savings below 10 cents, are left out.
-- A new session starts with what this one started with, and has to read a quarter of what was carried again.
with turns as (
    select
        prompts.session_id,
        prompts.seq,
        prompts.ts_ms,
        prompts.text,
        lag(prompts.seq) over (partition by prompts.session_id order by prompts.seq) as before_seq
    from prompts
),

openings as (
    select *
    from turns
    where before_seq is not null and length(text) >= 40
),

carried as (
    select
        openings.session_id,
        openings.seq,
        openings.ts_ms,
        openings.text,
        responses.segment,
        responses.context_tokens,
        responses.ts_ms as last_ms,
        responses.life_ms
    from openings
    asof inner join responses
        on openings.session_id = responses.session_id and openings.seq > responses.seq
),

starts as (
    select
        session_id,
        arg_min(context_tokens, seq) as start_tokens
    from responses
    group by session_id
),

carrying as (
    select
        carried.session_id,
        carried.seq,
        count(*) as later,
        sum(responses.read_usd) as read_usd,
        arg_min(coalesce(responses.write_usd, responses.input_usd), responses.seq) as write_usd
    from carried
    inner join responses
        on
            carried.session_id = responses.session_id
            and carried.segment = responses.segment
            and carried.seq < responses.seq
    group by carried.session_id, carried.seq
),

savings as (
    select
        carrying.*,
        carried.ts_ms,
        carried.text,
        carried.context_tokens,
        carried.context_tokens - starts.start_tokens as dropped_tokens,
        0.75 * (carried.context_tokens - starts.start_tokens) * carrying.read_usd
        -- After a break that outlasts the cache, the old context is written anew as well.
        + case when carried.ts_ms - carried.last_ms > carried.life_ms then carried.context_tokens else 0 end
        * carrying.write_usd
        - (starts.start_tokens + 0.25 * (carried.context_tokens - starts.start_tokens)) * carrying.write_usd
            as saved_usd
    from carrying
    inner join carried
        on carrying.session_id = carried.session_id and carrying.seq = carried.seq
    inner join starts
        on carrying.session_id = starts.session_id
    where carried.context_tokens - starts.start_tokens >= 20000
),

ranked as (
    select
        *,
        row_number() over (partition by session_id order by saved_usd desc, seq asc) as place
    from savings
    where saved_usd >= 0.1
)

select
    session_id,
    seq,
    ts_ms,
    'context' as subject,
    saved_usd as cost_usd,
    cast(0.75 * dropped_tokens * later as bigint) as tokens,
    cast(context_tokens as varchar) as detail,
    [text] as remedy
from ranked
where place = 1
