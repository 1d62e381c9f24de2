-- purpose: which session used which skill, rule, agent type or server.
-- grain: one row per session, kind and name; names are in lower case, without the plugin that a skill came from.
-- null: never.
with named_uses as (
    select
        session_id,
        'skill' as kind,
        skill as name
    from skills_used
    union
    select
        session_id,
        'rule' as kind,
        rule as name
    from rules_used
    union
    select
        session_id,
        'agent' as kind,
        try(json_extract_string(payload, '$.input.subagent_type')) as name
    from events
    where kind = 'ToolCall'
    union
    select
        session_id,
        'server' as kind,
        regexp_extract(tool, '^mcp__(.+?)__', 1) as name
    from events
    where kind = 'ToolCall' and starts_with(tool, 'mcp__')
)

select distinct
    session_id,
    kind,
    lower(regexp_extract(rtrim(name, '/'), '[^/\\:]+$')) as name
from named_uses
where name is not null
