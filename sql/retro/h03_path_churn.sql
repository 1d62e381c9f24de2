-- id: H3
-- name: path churn
-- purpose: a file of code that single sessions edited again and again; documents are written piece by piece.
-- grain: one row per file.
-- null: never; complexity counts 0 where nobody measured it.
-- confidence: medium
-- category: investigation
-- effort_minutes: 45
-- basis: estimate
-- metric: tokens_per_session
-- needs: touches
-- uses: file_facts
-- threshold: min_edits = 8 (edits of the file in one session)
-- saving: edits in those sessions x (800 + 20 x complexity of the file).
with session_edits as (
    select
        session_id,
        path,
        count(*) as n_edits
    from touches
    where tool_class = 'edit' and not regexp_matches(path, '\.(md|mdx|rst|adoc|txt)$')
    group by session_id, path
    having count(*) >= $min_edits
),

churned_files as (
    select
        path,
        sum(n_edits) as n_edits,
        max(n_edits) as most_edits,
        list(session_id) as evidence
    from session_edits
    group by path
),

bets as (
    select
        churned_files.path as bet_key,
        '`' || churned_files.path || '` was edited up to ' || cast(churned_files.most_edits as varchar)
        || ' times in one session' as title,
        'Agents return to the file instead of finishing it: ' || cast(churned_files.n_edits as varchar)
        || ' edits in ' || cast(len(churned_files.evidence) as varchar)
        || ' session(s). It may be too large, or what it must do is not written down.' as hypothesis,
        'Read one of the sessions; then split the file, or write its contract where agents read it.' as apply_step,
        churned_files.evidence,
        cast(churned_files.n_edits as bigint) as occurrences,
        cast(
            churned_files.n_edits * (800 + 20 * coalesce(file_facts.complexity_total, 0)) * $per_week as double
        ) as tokens_saved_per_week
    from churned_files
    left join file_facts
        on churned_files.path = file_facts.path
)

select * from bets
