-- purpose: every tool call with its outcome and the seconds until its result.
-- grain: one row per tool call; session_id is the root session.
-- null: is_error when the result is missing or does not say; seconds when the result is missing or a time is not exact.
with owned as (
    select
        session_roots.root_id as session_id,
        calls.ts_ms,
        calls.tool,
        results.is_error,
        case
            when calls.ts_exact = 1 and results.ts_exact = 1 and results.ts_ms >= calls.ts_ms
                then cast(results.ts_ms - calls.ts_ms as double) / 1000
        end as seconds,
        sessions.agent,
        sessions.workspace
    from events as calls
    inner join sessions
        on calls.session_id = sessions.id
    inner join session_roots
        on calls.session_id = session_roots.session_id
    left join tool_results as results
        on
            calls.session_id = results.session_id
            and calls.tool_call_id = results.tool_call_id
    where calls.kind = 'ToolCall' and calls.tool is not null
)

select
    session_id,
    ts_ms,
    tool,
    is_error,
    seconds
from owned
where
    ($since_ms is null or ts_ms >= $since_ms)
    and ($until_ms is null or ts_ms < $until_ms)
    and ($agent is null or agent = $agent)
    and ($folder is null or starts_with(workspace || '/', $folder))
