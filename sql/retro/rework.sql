-- purpose: work that was done again: checks that fail twice with edits between, lints that fail on what was written,
--   and lines that did not last 14 days.
-- grain: one row per check that failed once more (subject: the check), per lint that failed and was mended by hand
--   (subject: 'lint'), and per session whose lines were replaced or reverted (subject: 'undone').
-- null: dollars and tokens where they are unknown.
with failing as (
    -- From a failure to the next run of the same check, which fails as well.
    select
        session_id,
        lag(seq) over same as from_seq,
        seq as to_seq,
        seq,
        ts_ms,
        action as subject,
        command as detail,
        cast([] as varchar[]) as remedy,
        check_failed and lag(check_failed) over same as counts
    from calls
    where check_failed is not null and problem is null
    window same as (partition by session_id, action order by seq)
    union all
    -- From a failed lint to the next one. Of several commands in one, nobody can tell which one failed.
    select
        session_id,
        seq as from_seq,
        lead(seq) over (partition by session_id order by seq) as to_seq,
        seq,
        ts_ms,
        'lint' as subject,
        command as detail,
        ["check"] as remedy,
        check_failed as counts
    from calls
    where
        check_kind = 'lint'
        and problem is null
        and not regexp_matches(regexp_replace(command, '^cd \S+ && ', ''), '&&|;')
),

between_checks as (
    select
        failing.session_id,
        failing.seq,
        failing.subject,
        bool_or(calls.is_edit) as is_edited,
        bool_or(calls.is_fix) as is_fixed
    from failing
    inner join calls
        on failing.session_id = calls.session_id and calls.seq between failing.from_seq and failing.to_seq
    where failing.counts
    group by all
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
    failing.session_id,
    failing.seq,
    any_value(failing.ts_ms) as ts_ms,
    failing.subject,
    sum(responses.cost_usd) as cost_usd,
    cast(sum(responses.context_tokens + responses.output_tokens) as bigint) as tokens,
    any_value(failing.detail) as detail,
    any_value(failing.remedy) as remedy
from failing
inner join between_checks
    on
        failing.session_id = between_checks.session_id
        and failing.seq = between_checks.seq
        and failing.subject = between_checks.subject
        and between_checks.is_edited
        and not (failing.subject = 'lint' and between_checks.is_fixed)
inner join responses
    on failing.session_id = responses.session_id and responses.seq between failing.from_seq and failing.to_seq
group by failing.session_id, failing.seq, failing.subject
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
