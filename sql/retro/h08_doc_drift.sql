-- id: H8
-- name: doc drift
-- purpose: a document that sessions read before they edited code, and did not bring up to date.
-- grain: one row per document.
-- null: never; complexity counts 0 where nobody measured it.
-- confidence: low
-- category: hygiene
-- effort_minutes: 40
-- basis: estimate
-- metric: tokens_per_session
-- needs: touches
-- uses: file_facts
-- threshold: min_edits = 3 (edits of code after the document was read, in one session)
-- threshold: min_sessions = 2 (sessions of this kind)
-- saving: edits of code in those sessions x (600 + 10 x complexity of the edited files, on average).
with marked_touches as (
    select
        session_id,
        seq,
        tool_class,
        path,
        regexp_matches(path, '(^|/)docs?/|\.(md|mdx|rst|adoc)$') as is_document
    from touches
    where not regexp_matches(path, '^([/~]|[A-Za-z]:)|(^|/)\.[a-z]')
),

document_reads as (
    select
        session_id,
        path,
        min(seq) as seq
    from marked_touches
    where
        tool_class = 'read' and is_document
        and not regexp_matches(path, '(^|/)(CLAUDE|AGENTS|SKILL|CHANGELOG)\.md$')
    group by session_id, path
),

drifts as (
    select
        document_reads.session_id,
        document_reads.path,
        count(*) as n_edits,
        avg(coalesce(file_facts.complexity_total, 0)) as complexity
    from document_reads
    inner join marked_touches as edits
        on
            document_reads.session_id = edits.session_id
            and document_reads.seq < edits.seq
            and edits.tool_class = 'edit'
            and not edits.is_document
    left join file_facts
        on edits.path = file_facts.path
    where
        not exists (
            select 1
            from marked_touches as updates
            where
                updates.session_id = document_reads.session_id
                and updates.path = document_reads.path
                and updates.tool_class = 'edit'
        )
    group by document_reads.session_id, document_reads.path
    having count(*) >= $min_edits
),

bets as (
    select
        path as bet_key,
        '`' || path || '` is read before edits and never updated' as title,
        cast(count(*) as varchar) || ' sessions read it, edited code ' || cast(sum(n_edits) as varchar)
        || ' times after that, and left it as it was. It may no longer be true.' as hypothesis,
        'Compare `' || path || '` with the code it describes, and correct it or remove it.' as apply_step,
        list(session_id) as evidence,
        cast(count(*) as bigint) as occurrences,
        cast(sum(n_edits * (600 + 10 * complexity)) * $per_week as double) as tokens_saved_per_week
    from drifts
    group by path
    having count(*) >= $min_sessions
)

select * from bets
