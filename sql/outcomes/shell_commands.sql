-- purpose: every shell command with what its result says, and every pull request that an agent linked.
-- grain: one row per tool call that has a command, or per linked pull request (command is then null).
-- null: failed, says, commits and pull_request where nothing says them.
-- failed is null, too, where the command went to the background: the result says only that it was started.
-- session is the root session, so that a sub-agent's work counts with the session that started it.
with commands as (
    select
        calls.session_id,
        calls.ts_ms,
        calls.seq,
        coalesce(
            try(json_extract_string(calls.payload, '$.input.command')),
            try(json_extract_string(calls.payload, '$.input.cmd'))
        ) as command,
        case
            when try(json_extract_string(results.payload, '$.background')) = 'true' then null
            else try_cast(try(json_extract_string(results.payload, '$.is_error')) as boolean)
        end as failed,
        try(json_extract_string(results.payload, '$.says')) as says,
        try(cast(json_extract(results.payload, '$.commits') as varchar)) as commits,
        try(json_extract_string(results.payload, '$.pull_request')) as pull_request
    from events as calls
    left join tool_results as results
        on calls.session_id = results.session_id and calls.tool_call_id = results.tool_call_id
    where calls.kind = 'ToolCall'
    union all
    select
        session_id,
        ts_ms,
        seq,
        null as command,
        null as failed,
        null as says,
        null as commits,
        try(json_extract_string(payload, '$.pull_request')) as pull_request
    from events
    where kind = 'Lifecycle'
)

select
    session_roots.root_id as session_id,
    commands.command,
    commands.failed,
    commands.says,
    commands.commits,
    commands.pull_request
from commands
inner join session_roots
    on commands.session_id = session_roots.session_id
where commands.command is not null or commands.pull_request is not null
order by commands.ts_ms, commands.session_id, commands.seq
