-- purpose: every tool call with its result; what a person may read (tool, command, path) fits into one line.
-- grain: one row per tool call; paths holds each file it names, below the workspace where it lies there, with the
--   workspace's own name in front where the sessions come from several.
-- null: is_error, error, lines and chars without a result; program and command for calls that run no command.
-- reads: events (retro/relations/events.sql), sessions (retro/relations/sessions.sql).
with scope as (
    select count(distinct workspace) > 1 as has_several_workspaces
    from sessions
),

tool_calls as (
    select
        session_id,
        seq,
        ts_ms,
        tool_call_id,
        subagent_type,
        skill,
        todos_total,
        todos_done,
        workspace,
        coalesce(tool, 'unknown') as tool,
        lower(replace(coalesce(tool, 'unknown'), '_', '')) as plain_tool,
        replace(regexp_replace(trim(command), '\s+', ' ', 'g'), '`', '''') as command,
        paths
    from events
    where kind = 'ToolCall'
),

-- "cd /x && FOO=1 timeout 60 go test ./..." runs "go test".
stripped_calls as (
    select
        *,
        regexp_replace(
            regexp_replace(
                command,
                '^((cd\s+\S+\s*(&&|;)\s*)|([A-Za-z_]\w*=\S*\s+)|(sudo\s+)|(env\s+)|(time\s+)|(timeout\s+\S+\s+))+',
                ''
            ),
            '^git(\s+-[cC]\s+\S+)+',
            'git'
        ) as stripped
    from tool_calls
),

worded_calls as (
    select
        *,
        regexp_extract(regexp_extract(stripped, '^[^\s"''|;&<>()]+'), '[^/\\]+$') as first_word,
        regexp_extract(stripped, '^\S+\s+([a-z][a-z0-9:_-]*)(\s|$)', 1) as second_word
    from stripped_calls
),

tool_results as (
    select
        session_id,
        tool_call_id,
        ts_ms,
        is_error,
        is_rejected,
        is_interrupted,
        replace(regexp_replace(trim(error), '\s+', ' ', 'g'), '`', '''') as error,
        lines,
        chars
    from events
    where kind = 'ToolResult' and tool_call_id is not null
    qualify row_number() over (partition by session_id, tool_call_id order by seq) = 1
)

select
    worded_calls.session_id,
    worded_calls.seq,
    worded_calls.ts_ms,
    worded_calls.tool,
    case
        when
            worded_calls.command is not null
            or worded_calls.plain_tool in (
                'bash', 'shell', 'shellcommand', 'execcommand', 'localshell', 'runterminalcmd', 'exec', 'powershell'
            )
            then 'shell'
        when
            worded_calls.plain_tool in (
                'edit', 'write', 'multiedit', 'notebookedit', 'applypatch', 'strreplace', 'searchreplace', 'editfile',
                'writefile', 'createfile', 'delete', 'deletefile'
            )
            then 'edit'
        when worded_calls.plain_tool in ('read', 'readfile', 'view', 'notebookread') then 'read'
        when
            worded_calls.plain_tool in (
                'grep', 'glob', 'ls', 'listdir', 'codebasesearch', 'toolsearch', 'filesearch', 'grepsearch'
            )
            then 'search'
        when worded_calls.plain_tool in ('task', 'agent', 'spawnagent') then 'delegate'
        when contains(worded_calls.tool, '__') then 'mcp'
        else 'other'
    end as tool_class,
    case
        when worded_calls.first_word = '' then null
        when
            worded_calls.second_word <> ''
            and worded_calls.first_word in (
                'git', 'gh', 'go', 'npm', 'npx', 'pnpm', 'yarn', 'bun', 'deno', 'cargo', 'docker', 'kubectl', 'helm',
                'make', 'just', 'task', 'mise', 'uv', 'poetry', 'pip', 'dotnet', 'mvn', 'gradle', 'terraform', 'nix'
            )
            then worded_calls.first_word || ' ' || worded_calls.second_word
        else worded_calls.first_word
    end as program,
    worded_calls.command,
    worded_calls.subagent_type,
    worded_calls.skill,
    worded_calls.todos_total,
    worded_calls.todos_done,
    list_transform(
        coalesce(worded_calls.paths, []),
        lambda path: replace(
            case
                when regexp_matches(path, '^([/~]|[A-Za-z]:)') and not starts_with(path, worded_calls.workspace || '/')
                    then path
                when scope.has_several_workspaces
                    then
                        regexp_extract(worded_calls.workspace, '[^/\\]*$') || '/'
                        || replace(path, worded_calls.workspace || '/', '')
                else replace(path, worded_calls.workspace || '/', '')
            end,
            '`',
            ''''
        )
    ) as paths,
    tool_results.ts_ms as result_ts_ms,
    tool_results.is_error,
    coalesce(tool_results.is_rejected, false) as is_rejected,
    coalesce(tool_results.is_interrupted, false) as is_interrupted,
    tool_results.error,
    tool_results.lines,
    tool_results.chars
from worded_calls
cross join scope
left join tool_results
    on
        worded_calls.session_id = tool_results.session_id
        and worded_calls.tool_call_id = tool_results.tool_call_id
