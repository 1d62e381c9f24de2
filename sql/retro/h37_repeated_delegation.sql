-- id: H37
-- name: repeated delegation
-- purpose: a session that reads files again which its sub-agent had just read.
-- grain: one row, or none.
-- null: never; a read whose length is unknown counts 0 tokens.
-- confidence: medium
-- category: investigation
-- effort_minutes: 25
-- basis: measured
-- metric: tokens_per_session
-- needs: sessions.parent_session_id, touches
-- threshold: min_files = 3 (files that one session read again)
-- saving: what the repeated reads returned, at 4 characters a token.
with child_reads as (
    select
        sessions.parent_session_id,
        touches.path,
        max(touches.ts_ms) as ts_ms
    from touches
    inner join sessions
        on touches.session_id = sessions.id
    where touches.tool_class = 'read' and sessions.parent_session_id is not null
    group by sessions.parent_session_id, touches.path
),

repeated_reads as (
    select
        touches.session_id,
        count(distinct touches.path) as n_files,
        sum(coalesce(touches.chars, 0)) as n_chars
    from touches
    inner join child_reads
        on
            touches.session_id = child_reads.parent_session_id
            and touches.path = child_reads.path
            and touches.ts_ms > child_reads.ts_ms
    where touches.tool_class = 'read'
    group by touches.session_id
    having count(distinct touches.path) >= $min_files
),

bets as (
    select
        'reads' as bet_key,
        cast(count(*) as varchar) || ' session(s) read again what their sub-agents had read' as title,
        cast(sum(n_files) as varchar) || ' files, ' || format('{:,}', cast(sum(n_chars) / 4 as bigint))
        || ' tokens. The answer of the sub-agent did not hold what the session needed.' as hypothesis,
        'Ask sub-agents for the lines that matter (path, line, text), not for a judgement.' as apply_step,
        list(session_id) as evidence,
        cast(sum(n_files) as bigint) as occurrences,
        cast(sum(n_chars) / 4 * $per_week as double) as tokens_saved_per_week
    from repeated_reads
    having count(*) > 0
)

select * from bets
