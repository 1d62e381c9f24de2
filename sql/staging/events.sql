-- purpose: the columns of events that metrics need, with the marks that ingestion leaves in the payload.
-- grain: one row per event.
-- null: is_prompt, is_error, is_unreliable and message_role are null where the payload does not say, or is not JSON.
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
    case
        when kind = 'Message' and json_valid(payload) then json_extract_string(payload, '$.role')
    end as message_role,
    case
        when kind = 'Message' and json_valid(payload)
            then cast(try_cast(json_extract_string(payload, '$.prompt') as boolean) as integer)
    end as is_prompt,
    case
        when kind = 'Message' and json_valid(payload)
            then cast(try_cast(json_extract_string(payload, '$.unreliable') as boolean) as integer)
    end as is_unreliable,
    case
        when kind = 'ToolResult' and json_valid(payload)
            then cast(try_cast(json_extract_string(payload, '$.is_error') as boolean) as integer)
    end as is_error
from events
