-- purpose: large files that are read whole again and again, and reads that are refused as too large.
-- grain: one row per read of at least $large_chars characters; subject is 'files', or 'guidance' for what
--   agents are told; detail is the file below the repository's folder, remedy its number of characters.
-- null: dollars and tokens where they are unknown.
with readings as (
    select
        *,
        case when lower(tool) in ('read', 'read_file') then path else reads end as file,
        coalesce(problem = 'too_large', false) as is_refused
    from calls
)

select
    session_id,
    seq,
    ts_ms,
    case
        when regexp_matches(file, '(SKILL|AGENTS|CLAUDE)\.md$|(^|/)\.(claude|agents|cursor|codex)/') then 'guidance'
        else 'files'
    end as subject,
    case when is_refused then wasted_usd else carried_usd * 0.75 end as cost_usd,
    cast(case when is_refused then wasted_tokens else carried_tokens * 0.75 end as bigint) as tokens,
    replace(file, folder, '') as detail,
    [cast(chars as varchar)] as remedy
from readings
where
    file is not null
    and answer_seq is not null
    and (is_refused or (chars >= $large_chars and not coalesce(failed, false)))
