-- purpose: every response of a model, with what it read, wrote and cost.
-- grain: one row per response.
-- null: a token count or a cost that nobody recorded; model where nobody named it.
-- segment counts the compactions before the response: what was read before one is not carried past it.
with marked as (
    select
        session_id,
        seq,
        ts_ms,
        try(json_extract_string(payload, '$.model')) as model,
        context_used_tokens,
        tokens_in,
        cache_creation_tokens,
        cache_read_tokens,
        coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0) as output_tokens,
        cost_usd_e6,
        stop_reason,
        kind = 'Message'
        and coalesce(tokens_in, cache_creation_tokens, cache_read_tokens, tokens_out) is not null as is_response,
        sum(case when try(json_extract_string(payload, '$.event')) = 'compaction' then 1 else 0 end)
            over (partition by session_id order by seq) as segment
    from events
    where kind in ('Message', 'Lifecycle')
)

select
    marked.session_id,
    marked.seq,
    marked.ts_ms,
    marked.model,
    coalesce(
        marked.context_used_tokens,
        coalesce(marked.tokens_in, 0) + coalesce(marked.cache_creation_tokens, 0)
        + coalesce(marked.cache_read_tokens, 0)
    ) as context_tokens,
    marked.tokens_in as input_tokens,
    marked.cache_creation_tokens as write_tokens,
    marked.cache_read_tokens as read_tokens,
    marked.output_tokens,
    marked.cost_usd_e6,
    marked.stop_reason,
    cast(marked.segment as bigint) as segment
from marked
where marked.is_response
