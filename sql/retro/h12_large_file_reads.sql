-- id: H12
-- name: large file reads
-- purpose: a large file that agents read more than once.
-- grain: one row per file.
-- null: never; the size comes from the read itself, else from file_facts.
-- confidence: high
-- category: investigation
-- effort_minutes: 40
-- basis: measured
-- metric: tokens_per_session
-- needs: touches
-- uses: file_facts
-- threshold: min_lines = 500 (lines of the file)
-- threshold: min_bytes = 80000 (size of the file, where its lines are unknown)
-- threshold: min_reads = 2 (reads in the window)
-- threshold: min_tokens = 10000 (tokens that the reads returned, where that is known)
-- saving: half of what the reads returned, at 4 characters a token; reads x lines x 2 where that is unknown.
with large_reads as (
    select
        touches.session_id,
        touches.path,
        touches.chars,
        coalesce(touches.lines, file_facts.loc) as n_lines
    from touches
    left join file_facts
        on touches.path = file_facts.path
    where
        touches.tool_class = 'read'
        and coalesce(touches.is_error, 0) = 0
        and (
            coalesce(touches.lines, file_facts.loc) >= $min_lines
            or coalesce(file_facts.bytes, touches.chars) >= $min_bytes
        )
),

bets as (
    select
        path as bet_key,
        '`' || path || '` is large and was read ' || cast(count(*) as varchar) || ' times' as title,
        'It has ' || coalesce(cast(max(n_lines) as varchar), 'an unknown number of') || ' lines; '
        || cast(count(distinct session_id) as varchar) || ' session(s) read it, '
        || coalesce(format('{:,}', cast(sum(chars) / 4 as bigint)), 'an unknown number of') || ' tokens in all.'
            as hypothesis,
        'Split `' || path || '` by subject, or tell agents which part holds what.' as apply_step,
        list(distinct session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(sum(coalesce(chars / 4.0 / 2, n_lines * 2.0, 0)) * $per_week as double) as tokens_saved_per_week
    from large_reads
    group by path
    having count(*) >= $min_reads and coalesce(sum(chars) / 4 >= $min_tokens, true)
)

select * from bets
