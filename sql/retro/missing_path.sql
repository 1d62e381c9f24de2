-- purpose: files and folders of the repository that agents look for and that are not there.
-- grain: one row per failed call and subject: the path below the repository's folder, and 'guess' for all of them.
-- null: dollars and tokens where they are unknown. Left out are paths that the session moved before or wrote later, and
--   as a subject those that any session of the repository found: a shell looks from the folder that it is in.
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
    where not regexp_matches(missing, '^([/~]|[A-Za-z]:|\.\.|-|\$)')
),

named as (
    select
        inside.session_id,
        inside.seq,
        bool_or(
            calls.session_id = inside.session_id
            and case
                when calls.seq < inside.seq
                    then regexp_matches(calls.command, '\b(mv|rm|checkout|switch|reset|stash|clean)\b')
                else lower(calls.tool) in ('write', 'edit', 'apply_patch')
            end
        ) as is_own,
        bool_or(
            not coalesce(calls.failed, false)
            and coalesce(calls.program in ('ls', 'cat', 'cd', 'sed', 'head', 'tail', 'nl', 'wc', 'stat'), true)
        ) as is_found
    from inside
    inner join calls
        on
            inside.repository = calls.repository
            and (
                starts_with(calls.path || '/', inside.folder || inside.subject || '/')
                or regexp_matches(
                    calls.command, '(^|[\s/''"=])' || regexp_escape(inside.subject) || '($|[\s/''";|&)])'
                )
            )
    group by inside.session_id, inside.seq
)

select
    inside.session_id,
    inside.seq,
    inside.ts_ms,
    unnest(case when named.is_found then ['guess'] else [inside.subject, 'guess'] end) as subject,
    inside.wasted_usd as cost_usd,
    inside.wasted_tokens as tokens,
    coalesce(inside.command, inside.path) as detail,
    [inside.subject] as remedy
from inside
left join named
    on inside.session_id = named.session_id and inside.seq = named.seq
where not coalesce(named.is_own, false)
