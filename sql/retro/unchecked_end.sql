-- purpose: sessions that edit code and end without the check that the repository's sessions run.
-- grain: one row per root session that edits code; subject is 'end'. remedy names the checks run after the last edit.
-- null: dollars and tokens, always: what an unchecked end costs is not in a transcript.
with edits as (
    select
        root_id,
        max(ts_ms) as last_ms,
        arg_max(session_id, ts_ms) as session_id,
        arg_max(seq, ts_ms) as seq
    from calls
    where
        is_edit
        and not coalesce(failed, false)
        and regexp_matches(
            path,
            '\.(py|go|rs|ts|tsx|js|jsx|java|kt|rb|php|c|cc|cpp|h|hpp|cs|swift|scala|ex|exs|vue|svelte)$'
        )
    group by root_id
)

select
    edits.session_id,
    edits.seq,
    edits.last_ms as ts_ms,
    'end' as subject,
    cast(null as double) as cost_usd,
    cast(null as bigint) as tokens,
    'edited' as detail,
    (
        select coalesce(list(distinct calls.check), [])
        from calls
        where calls.root_id = edits.root_id and calls.ts_ms >= edits.last_ms and calls.check is not null
    ) as remedy
from edits
