-- purpose: the tools that the sessions of a tree called.
-- grain: one row per session and tool, most called first.
-- null: seconds where no call has exact times.
with asked as (
    select unnest(from_json($session_ids, '["VARCHAR"]')) as session_id
),

calls as (
    select
        calls.session_id,
        calls.tool,
        results.is_error,
        case
            when calls.ts_exact = 1 and results.ts_exact = 1 and results.ts_ms >= calls.ts_ms
                then cast(results.ts_ms - calls.ts_ms as double) / 1000
        end as seconds
    from asked
    inner join events as calls
        on asked.session_id = calls.session_id
    left join tool_results as results
        on calls.session_id = results.session_id and calls.tool_call_id = results.tool_call_id
    where calls.kind = 'ToolCall' and calls.tool is not null
)

select
    session_id,
    tool,
    count(*) as calls,
    (count(*) filter (where is_error = 1)) as failures,
    sum(seconds) as seconds
from calls
group by session_id, tool
order by calls desc, tool asc
