-- purpose: prompts for other work at which a new session would have cost less, and compactions that cut work short.
-- grain: one row per session: its prompt (of 40 characters or more, not the first) at which a new session saves most;
--   and one per compaction.
-- null: never; sessions without prices, and savings below a fiftieth of what the session cost, are left out.
-- reads: paced_responses, prompts, calls.
-- A new session starts with what this one started with, and has to read a quarter of what was carried again. Other work
-- is what opens more files that were not open before than files that were.
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
        arg_min(context_tokens, seq) as start_tokens,
        sum(cost_usd) as cost_usd
    from responses
    group by session_id
),

opened as (
    select
        session_id,
        coalesce(path, reads) as file,
        min(seq) as first_seq,
        max(seq) as last_seq
    from calls
    where coalesce(path, reads) is not null
    group by all
),

other_work as (
    select
        openings.session_id,
        openings.seq
    from openings
    inner join opened
        on openings.session_id = opened.session_id and openings.seq < opened.last_seq
    group by openings.session_id, openings.seq
    having 2 * count_if(opened.first_seq > openings.seq) > count(*)
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
        starts.cost_usd / 50 as least_usd,
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
    inner join other_work
        on carrying.session_id = other_work.session_id and carrying.seq = other_work.seq
    inner join starts
        on carrying.session_id = starts.session_id
    where carried.context_tokens - starts.start_tokens >= 20000
),

ranked as (
    select
        *,
        row_number() over (partition by session_id order by saved_usd desc, seq asc) as place
    from savings
    where saved_usd >= least_usd
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
union all
select
    session_id,
    seq,
    ts_ms,
    'context' as subject,
    -- A compaction reads the whole context once more, to summarise it, and what is left is written anew.
    before_tokens * read_usd + (least(before_tokens, context_tokens) - read_tokens) * dearer_usd as cost_usd,
    least(before_tokens, context_tokens) - read_tokens as tokens,
    cast(before_tokens as varchar) as detail,
    cast([] as varchar[]) as remedy
from paced_responses
where segment > before_segment and before_tokens >= 20000
