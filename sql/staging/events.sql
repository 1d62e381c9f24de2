-- purpose: the columns of events that metrics need, with the marks that ingestion leaves in the payload.
-- grain: one row per event.
-- null: is_prompt, is_error, is_unreliable and message_role are null where the payload does not say, or is not JSON.
with marked_events as (
    select
        *,
        -- One pass over a payload for all of its marks; try gives null for what is not JSON. What is not UTF-8 either
        -- is an error, which the store answers by replacing those bytes and saying so.
        case
            when kind in ('Message', 'ToolResult')
                then
                    coalesce(
                        try(
                            json_extract_string(payload, ['$.role', '$.prompt', '$.unreliable', '$.is_error'])
                        ),
                        case when decode(encode(payload)) is null then [] end
                    )
        end as marks
    from events
)

select
    session_id,
    seq,
    ts_ms,
    ts_exact,
    kind,
    tool,
    tokens_in,
    tokens_out,
    reasoning_tokens,
    cache_creation_tokens,
    cache_read_tokens,
    cost_usd_e6,
    case when kind = 'Message' then marks[1] end as message_role,
    case when kind = 'Message' then cast(try_cast(marks[2] as boolean) as integer) end as is_prompt,
    case when kind = 'Message' then cast(try_cast(marks[3] as boolean) as integer) end as is_unreliable,
    case when kind = 'ToolResult' then cast(try_cast(marks[4] as boolean) as integer) end as is_error
from marked_events
