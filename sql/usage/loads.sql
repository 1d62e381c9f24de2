-- purpose: every text that a skill or the tool of a server put into a session's context.
-- grain: one row per load of a skill's text, or per result of a server's tool; root_id is the root session.
-- null: chars where the size of the text is not recorded.
with loads as (
    select
        session_id,
        seq,
        ts_ms,
        'skill' as kind,
        try(json_extract_string(payload, '$.skill')) as item,
        try_cast(try(json_extract_string(payload, '$.chars')) as bigint) as chars
    from events
    where kind = 'Lifecycle' and try(json_extract_string(payload, '$.event')) = 'skill'
    union all
    select
        calls.session_id,
        results.seq,
        calls.ts_ms,
        'mcp_server' as kind,
        regexp_extract(calls.tool, '^mcp__(.+?)__', 1) as item,
        try_cast(try(json_extract_string(results.payload, '$.chars')) as bigint) as chars
    from events as calls
    inner join tool_results as results
        on calls.session_id = results.session_id and calls.tool_call_id = results.tool_call_id
    where calls.kind = 'ToolCall' and starts_with(calls.tool, 'mcp__')
),

owned as (
    select
        loads.session_id,
        loads.seq,
        loads.ts_ms,
        loads.kind,
        loads.item,
        loads.chars,
        session_roots.root_id,
        sessions.agent,
        sessions.workspace
    from loads
    inner join sessions
        on loads.session_id = sessions.id
    inner join session_roots
        on loads.session_id = session_roots.session_id
)

select
    session_id,
    root_id,
    seq,
    ts_ms,
    item,
    chars
from owned
where
    kind = $kind
    and ($since_ms is null or ts_ms >= $since_ms)
    and ($until_ms is null or ts_ms < $until_ms)
    and ($agent is null or agent = $agent)
    and ($folder is null or starts_with(workspace || '/', $folder))
