-- purpose: what a session carries from its first response on beyond the leanest start of the same agent.
-- grain: one row per root session; subject is 'start', detail the tokens of the start, remedy the leanest.
-- null: dollars without a price. Starts above 80,000 tokens go on from another session and are left out.
with firsts as (
    select
        responses.session_id,
        arg_min(responses.seq, responses.seq) as seq,
        arg_min(responses.ts_ms, responses.seq) as ts_ms,
        any_value(responses.agent) as agent,
        arg_min(responses.context_tokens, responses.seq) as start_tokens,
        arg_min(coalesce(responses.write_usd, responses.input_usd) - responses.read_usd, responses.seq) as dearer_usd,
        sum(responses.read_usd) as read_usd,
        count(*) as times
    from responses
    where responses.session_id = responses.root_id and responses.context_tokens > 0
    group by responses.session_id
),

asked as (
    select
        session_id,
        arg_min(chars, seq) // 4 as tokens
    from prompts
    group by session_id
),

started as (
    select
        firsts.*,
        firsts.start_tokens - coalesce(asked.tokens, 0) as bare_tokens
    from firsts
    left join asked
        on firsts.session_id = asked.session_id
    where firsts.start_tokens <= 80000
),

compared as (
    select
        *,
        min(case when bare_tokens >= 2000 then bare_tokens end) over (
            -- What an agent itself starts with changes from version to version: compare the sessions of three months.
            partition by agent
            order by ts_ms
            range between 3888000000 preceding and 3888000000 following
        ) as lean_tokens
    from started
)

select
    session_id,
    seq,
    ts_ms,
    'start' as subject,
    (bare_tokens - lean_tokens) * (read_usd + dearer_usd) as cost_usd,
    (bare_tokens - lean_tokens) * times as tokens,
    cast(bare_tokens as varchar) as detail,
    [cast(lean_tokens as varchar)] as remedy
from compared
where bare_tokens - lean_tokens >= 5000
