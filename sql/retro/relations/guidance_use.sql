-- purpose: which session used which skill, rule or sub-agent definition.
-- grain: one row per session, kind and name; names are in lower case, without the plugin that a skill came from.
-- null: never.
-- reads: sessions, events, skills_used, rules_used of the look-back.
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
        subagent_type as name
    from events
    where kind = 'ToolCall' and subagent_type is not null
)

select distinct
    named_uses.session_id,
    sessions.started_at_ms,
    named_uses.kind,
    lower(regexp_extract(rtrim(named_uses.name, '/'), '[^/\\:]+$')) as name
from named_uses
inner join sessions
    on named_uses.session_id = sessions.id
