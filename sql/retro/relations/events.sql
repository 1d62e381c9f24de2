-- purpose: the events of the scoped sessions, with the facts of their payloads as columns.
-- grain: one row per event.
-- null: a fact that the payload does not hold, holds with another type, or cannot hold because it is not JSON.
-- reads: scoped_sessions (retro/relations/sessions.sql).
with scoped_events as materialized (
    select
        events.*,
        scoped_sessions.workspace,
        case when json_valid(events.payload) then events.payload else null end as document
    from events
    inner join scoped_sessions
        on events.session_id = scoped_sessions.id
),

parsed_events as (
    select
        *,
        json_transform(
            document,
            '{
                "role": "VARCHAR", "prompt": "BOOLEAN", "unreliable": "BOOLEAN", "model": "VARCHAR",
                "is_error": "BOOLEAN", "rejected": "BOOLEAN", "interrupted": "BOOLEAN", "error": "VARCHAR",
                "event": "VARCHAR", "path": "VARCHAR", "paths": ["VARCHAR"], "lines": "BIGINT", "chars": "BIGINT",
                "pre_tokens": "BIGINT", "skill": "VARCHAR", "todos": {"total": "BIGINT", "done": "BIGINT"},
                "input": {
                    "command": "VARCHAR", "cmd": "VARCHAR", "skill": "VARCHAR", "subagent_type": "VARCHAR"
                }
            }'
        ) as fact
    from scoped_events
)

select
    parsed_events.session_id,
    parsed_events.seq,
    parsed_events.ts_ms,
    parsed_events.ts_exact,
    parsed_events.kind,
    parsed_events.tool,
    parsed_events.tool_call_id,
    parsed_events.tokens_in,
    parsed_events.tokens_out,
    parsed_events.reasoning_tokens,
    parsed_events.cache_creation_tokens,
    parsed_events.cache_read_tokens,
    parsed_events.cost_usd_e6,
    parsed_events.stop_reason,
    parsed_events.retry_count,
    parsed_events.context_used_tokens,
    parsed_events.context_max_tokens,
    parsed_events.workspace,
    case when parsed_events.kind = 'Message' then fact.role else null end as message_role,
    fact.model,
    case when parsed_events.kind = 'Message' then cast(fact.prompt as bigint) else null end as is_prompt,
    case when parsed_events.kind = 'Message' then cast(fact.unreliable as bigint) else null end as is_unreliable,
    case when parsed_events.kind = 'ToolResult' then cast(fact.is_error as bigint) else null end as is_error,
    fact.rejected as is_rejected,
    fact.interrupted as is_interrupted,
    fact.error,
    fact.event as lifecycle,
    fact.lines,
    fact.chars,
    fact.pre_tokens,
    fact.todos.total as todos_total,
    fact.todos.done as todos_done,
    fact.input.subagent_type,
    coalesce(fact.input.skill, fact.skill) as skill,
    coalesce(fact.input.command, fact.input.cmd) as command,
    coalesce(fact.paths, case when fact.path is not null then [fact.path] else null end) as paths
from parsed_events
