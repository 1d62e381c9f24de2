-- purpose: files and folders of the repository that agents look for and that are not there.
-- grain: one row per failed call and subject: the path below the repository's folder, and 'guess' for all of them.
-- null: dollars and tokens where they are unknown. A path that the session wrote later is left out.
with missed as (
    select
        *,
        replace(coalesce(nullif(what, 'File does not exist'), path), folder, '') as missing
    from calls
    -- A path that the call did not name is only what its output says.
    where failed and problem = 'path' and (what = 'File does not exist' or contains(coalesce(command, path), what))
),

inside as (
    select
        *,
        rtrim(regexp_replace(missing, '^\./', ''), '/') as subject
    from missed
    where
        not regexp_matches(missing, '^([/~]|[A-Za-z]:|\.\.|-|\$)')
        and not exists (
            select 1
            from calls
            where
                calls.root_id = missed.root_id
                and calls.seq > missed.seq
                and calls.path = missed.folder || missed.missing
                and lower(calls.tool) in ('write', 'edit', 'apply_patch')
        )
)

select
    session_id,
    seq,
    ts_ms,
    unnest([subject, 'guess']) as subject,
    wasted_usd as cost_usd,
    wasted_tokens as tokens,
    coalesce(command, path) as detail,
    [subject] as remedy
from inside
