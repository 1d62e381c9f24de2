-- purpose: what each call cost beyond itself: the answer that had to read its result, and carrying the result on.
-- grain: one row per call whose result a later response read.
-- null: dollars without a price; tokens where the size of the result is unknown.
-- reads: tool_calls, responses. A token is taken as a quarter of a character's number; carrying ends at a compaction.
-- reread is what the answer paid for reading the context alone; carried what the result cost: the answer reads it for
--   the first time, later ones from the cache; wasted what a call cost that was of no use.
with counted as (
    select
        session_id,
        seq,
        cost_usd,
        context_tokens + output_tokens as tokens,
        context_tokens as reread_tokens,
        context_tokens * read_usd as reread_usd,
        case when write_tokens is null then input_usd when life_ms = 3600000 then hour_usd else write_usd end
            as first_usd,
        coalesce(sum(read_usd) over later, 0) as left_usd,
        count(*) over later as left_responses
    from responses
    window later as (partition by session_id, segment order by seq rows between 1 following and unbounded following)
),

answered as (
    select
        tool_calls.session_id,
        tool_calls.seq,
        tool_calls.chars,
        counted.* exclude (session_id, seq),
        counted.seq as answer_seq,
        count(*) over (partition by tool_calls.session_id, counted.seq) as answer_calls
    from tool_calls
    asof inner join counted
        on tool_calls.session_id = counted.session_id and tool_calls.result_seq < counted.seq
)

select
    session_id,
    seq,
    answer_seq,
    answer_calls,
    reread_usd / answer_calls as reread_usd,
    reread_tokens // answer_calls as reread_tokens,
    chars / 4 * (first_usd + left_usd) as carried_usd,
    chars // 4 * (1 + left_responses) as carried_tokens,
    cost_usd / answer_calls as answer_usd,
    tokens // answer_calls as answer_tokens,
    cost_usd / answer_calls + chars / 4 * left_usd as wasted_usd,
    tokens // answer_calls + chars // 4 * left_responses as wasted_tokens
from answered
