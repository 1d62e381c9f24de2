-- purpose: work that was done again: checks that fail twice with edits between, lints that fail on what was written,
--   and lines that did not last 14 days.
-- grain: one row per check that failed once more (subject: the check), per lint that failed and was mended by hand
--   (subject: 'lint'), and per session whose lines were replaced or reverted (subject: 'undone').
-- null: dollars and tokens where they are unknown.
with checked as (
    select
        session_id,
        seq,
        ts_ms,
        action,
        command,
        check_failed,
        lag(seq) over (partition by session_id, action order by seq) as before_seq,
        lag(check_failed) over (partition by session_id, action order by seq) as before_failed
    from calls
    where check_failed is not null and problem is null
),

again as (
    select checked.*
    from checked
    where
        checked.check_failed
        and checked.before_failed
        and exists (
            select 1
            from calls
            where
                calls.session_id = checked.session_id
                and calls.seq between checked.before_seq and checked.seq
                and calls.is_edit
        )
),

linted as (
    select
        session_id,
        seq,
        ts_ms,
        command,
        "check",
        check_failed,
        lead(seq) over (partition by session_id order by seq) as again_seq
    from calls
    -- Of several commands in one, nobody can tell which one failed.
    where
        check_kind = 'lint'
        and problem is null
        and not regexp_matches(regexp_replace(command, '^cd \S+ && ', ''), '&&|;')
),

mended as (
    select linted.*
    from linted
    where
        linted.check_failed
        and exists (
            select 1
            from calls
            where
                calls.session_id = linted.session_id
                and calls.seq between linted.seq and linted.again_seq
                and calls.is_edit
        )
        and not exists (
            select 1
            from calls
            where
                calls.session_id = linted.session_id
                and calls.seq between linted.seq and linted.again_seq
                and calls.is_fix
        )
),

spent as (
    select
        session_id,
        sum(cost_usd) as cost_usd,
        sum(context_tokens + output_tokens) as tokens
    from responses
    group by session_id
)

select
    again.session_id,
    again.seq,
    any_value(again.ts_ms) as ts_ms,
    any_value(again.action) as subject,
    sum(responses.cost_usd) as cost_usd,
    cast(sum(responses.context_tokens + responses.output_tokens) as bigint) as tokens,
    any_value(again.command) as detail,
    cast([] as varchar[]) as remedy
from again
inner join responses
    on again.session_id = responses.session_id and responses.seq between again.before_seq and again.seq
group by again.session_id, again.seq
union all
select
    mended.session_id,
    mended.seq,
    any_value(mended.ts_ms) as ts_ms,
    'lint' as subject,
    sum(responses.cost_usd) as cost_usd,
    cast(sum(responses.context_tokens + responses.output_tokens) as bigint) as tokens,
    any_value(mended.command) as detail,
    [any_value(mended.check)] as remedy
from mended
inner join responses
    on mended.session_id = responses.session_id and responses.seq between mended.seq and mended.again_seq
group by mended.session_id, mended.seq
union all
select
    outcomes.session_id,
    0 as seq,
    sessions.started_at_ms as ts_ms,
    'undone' as subject,
    spent.cost_usd * outcomes.lost_share as cost_usd,
    cast(spent.tokens * outcomes.lost_share as bigint) as tokens,
    cast(round(100 * outcomes.lost_share) as varchar) as detail,
    cast([] as varchar[]) as remedy
from outcomes
inner join sessions
    on outcomes.session_id = sessions.session_id
left join spent
    on outcomes.session_id = spent.session_id
where outcomes.lost_share >= 0.5
