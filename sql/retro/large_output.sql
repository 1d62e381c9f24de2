-- purpose: outputs of shell commands and searches that are large and carried on, files that are read excepted.
-- grain: one row per call with an output of at least $large_chars characters, or half of that for a check, of which the
--   end tells the result; subject is the kind of command.
-- null: dollars and tokens where they are unknown.
with sized as (
    select
        *,
        case
            when lower(tool) in ('grep', 'grep_search') then 'search'
            when program in ('find', 'fd', 'tree') or regexp_matches(command, '\brg --files\b') then 'list'
            when program in ('rg', 'grep', 'ag', 'ack') or regexp_matches(command, '\bgit grep\b') then 'search'
            when regexp_matches(command, '\bgh run view\b.*--log\b') then 'log'
            -- What prints a file of another commit reads it.
            when regexp_matches(command, '\bgit show \S+:\S') then null
            when regexp_matches(command, '\bgit (diff|show)\b|\bgh pr diff\b') then 'diff'
            when regexp_matches(command, '\bgh (issue|pr|search|api|run)\b') then 'gh'
            when "check" is not null then 'check'
            when command is not null and reads is null and not is_reader
                then 'of:' || action
        end as subject
    from calls
    where answer_seq is not null and chars >= case when "check" is null then $large_chars else $large_chars / 2 end
)

select
    session_id,
    seq,
    ts_ms,
    subject,
    -- A shorter output of a quarter of $large_chars would have done; the rest is what it cost.
    carried_usd * (1 - $large_chars / 4.0 / chars) as cost_usd,
    cast(carried_tokens * (1 - $large_chars / 4.0 / chars) as bigint) as tokens,
    coalesce(command, path, tool) as detail,
    cast([] as varchar[]) as remedy
from sized
where subject is not null
