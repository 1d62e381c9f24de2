-- purpose: outputs of shell commands that are large and carried on, files that are read excepted.
-- grain: one row per call with an output of at least $large_chars characters; subject is the kind of command.
-- null: dollars and tokens where they are unknown.
with sized as (
    select
        *,
        case
            when program in ('find', 'fd', 'tree') or regexp_matches(command, '\brg --files\b') then 'list'
            when program in ('rg', 'grep', 'ag', 'ack') or regexp_matches(command, '\bgit grep\b') then 'search'
            when regexp_matches(command, '\bgh run view\b.*--log\b') then 'log'
            when regexp_matches(command, '\bgit (diff|show)\b|\bgh pr diff\b') then 'diff'
            when regexp_matches(command, '\bgh (issue|pr|search|api|run)\b') then 'gh'
            when "check" is not null then 'check'
            when reads is null and not is_reader then 'of:' || program
        end as subject
    from calls
    where command is not null and chars >= $large_chars and answer_seq is not null
)

select
    session_id,
    seq,
    ts_ms,
    subject,
    -- A shorter output of a quarter of $large_chars would have done; the rest is what it cost.
    carried_usd * (1 - $large_chars / 4.0 / chars) as cost_usd,
    cast(carried_tokens * (1 - $large_chars / 4.0 / chars) as bigint) as tokens,
    command as detail,
    cast([] as varchar[]) as remedy
from sized
where subject is not null
