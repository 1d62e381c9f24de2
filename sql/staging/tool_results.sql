-- purpose: what became of a tool call, to be joined by session and call id.
-- grain: one row per session and call id that has a result, however many records repeat it.
-- null: is_error where no result says whether the call failed.
-- seq and payload are those of the first result; a call failed if any of its results says so.
select
    session_id,
    tool_call_id,
    min(seq) as seq,
    min(ts_ms) as ts_ms,
    min(ts_exact) as ts_exact,
    max(cast(try_cast(try(json_extract_string(payload, '$.is_error')) as boolean) as integer)) as is_error,
    arg_min(payload, seq) as payload
from events
where kind = 'ToolResult' and tool_call_id is not null
group by session_id, tool_call_id
