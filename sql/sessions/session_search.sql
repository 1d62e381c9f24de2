-- purpose: where a text occurs: in prompts, messages, commands, paths and errors.
-- grain: one row per event and place that holds the text, newest session first.
-- null: never.
with texts as (
    select
        session_id,
        seq,
        ts_ms,
        unnest([
            case
                when try_cast(try(json_extract_string(payload, '$.prompt')) as boolean) then 'prompt' else 'message'
            end,
            'command',
            'command',
            'path',
            'error'
        ]) as place,
        unnest([
            try(json_extract_string(payload, '$.text')),
            try(json_extract_string(payload, '$.input.command')),
            try(json_extract_string(payload, '$.input.cmd')),
            try(json_extract_string(payload, '$.path')),
            try(json_extract_string(payload, '$.error'))
        ]) as body
    from events
),

found as (
    select
        texts.session_id,
        sessions.started_at_ms,
        texts.seq,
        texts.ts_ms,
        texts.place,
        texts.body
    from texts
    inner join sessions
        on texts.session_id = sessions.id
)

select *
from found
where contains(lower(body), lower($text))
order by started_at_ms desc, session_id asc, seq asc, place asc
