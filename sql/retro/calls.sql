-- purpose: every tool call with the facts of its result.
-- grain: one row per tool call.
-- null: what the call does not have (command, path, skill), and every fact of a result that is missing.
select
    calls.session_id,
    calls.seq,
    calls.ts_ms,
    coalesce(calls.tool, 'unknown') as tool,
    coalesce(
        try(json_extract_string(calls.payload, '$.input.command')),
        try(json_extract_string(calls.payload, '$.input.cmd'))
    ) as command,
    try(json_extract_string(calls.payload, '$.path')) as path,
    coalesce(
        try(json_extract_string(calls.payload, '$.input.skill')),
        try(json_extract_string(calls.payload, '$.input.subagent_type'))
    ) as helper,
    results.seq as result_seq,
    try_cast(try(json_extract_string(results.payload, '$.is_error')) as boolean) as failed,
    try(json_extract_string(results.payload, '$.error')) as error,
    try(json_extract_string(results.payload, '$.says')) as says,
    try(json_array_length(json_extract(results.payload, '$.commits'))) > 0 as made_commit,
    try_cast(try(json_extract_string(results.payload, '$.chars')) as bigint) as chars,
    try_cast(try(json_extract_string(results.payload, '$.lines')) as bigint) as lines
from events as calls
left join tool_results as results
    on calls.session_id = results.session_id and calls.tool_call_id = results.tool_call_id
where calls.kind = 'ToolCall'
