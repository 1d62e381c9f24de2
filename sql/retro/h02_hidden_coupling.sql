-- id: H2
-- name: hidden coupling
-- purpose: two files in different top folders, neither a document nor the test of the other, that sessions keep editing
--   together.
-- grain: one row per pair of files.
-- null: never; complexity counts 0 where nobody measured it.
-- confidence: medium
-- category: investigation
-- effort_minutes: 120
-- basis: estimate
-- metric: files_per_session
-- needs: touches
-- uses: file_facts
-- threshold: min_sessions = 3 (sessions that edited both files)
-- threshold: min_share = 0.5 (share of the sessions with the rarer file that also edited the other)
-- saving: sessions with the pair x (500 + 15 x complexity of both files).
with edited_files as (
    select distinct
        session_id,
        path,
        top_folder,
        regexp_extract(path, '([^/]+?)(\.[^./]*)*$', 1) as stem
    from touches
    -- A file without a folder (README, package.json) goes along with every change.
    where tool_class = 'edit' and top_folder is not null and not regexp_matches(path, '\.(md|mdx|rst|adoc|txt)$')
),

file_sessions as (
    select
        path,
        count(*) as n_sessions
    from edited_files
    group by path
),

-- A test goes with what it tests: one name holds the other.
pairs as (
    select
        one.path as first_path,
        other.path as second_path,
        count(*) as n_sessions,
        list(one.session_id) as evidence
    from edited_files as one
    inner join edited_files as other
        on one.session_id = other.session_id and one.path < other.path and one.top_folder <> other.top_folder
    where not contains(one.stem, other.stem) and not contains(other.stem, one.stem)
    group by first_path, second_path
),

bets as (
    select
        pairs.first_path || '|' || pairs.second_path as bet_key,
        '`' || pairs.first_path || '` and `' || pairs.second_path || '` change together' as title,
        cast(pairs.n_sessions as varchar) || ' sessions edited both, though they lie in different folders. '
        || 'Whoever changes one has to find the other first.' as hypothesis,
        'Move what they share into one place, or name the link in the guidance that agents read.' as apply_step,
        pairs.evidence,
        cast(pairs.n_sessions as bigint) as occurrences,
        cast(
            pairs.n_sessions * (
                500 + 15 * (coalesce(first_facts.complexity_total, 0) + coalesce(second_facts.complexity_total, 0))
            ) * $per_week as double
        ) as tokens_saved_per_week
    from pairs
    inner join file_sessions as first_sessions
        on pairs.first_path = first_sessions.path
    inner join file_sessions as second_sessions
        on pairs.second_path = second_sessions.path
    left join file_facts as first_facts
        on pairs.first_path = first_facts.path
    left join file_facts as second_facts
        on pairs.second_path = second_facts.path
    where
        pairs.n_sessions >= $min_sessions
        and pairs.n_sessions >= $min_share * least(first_sessions.n_sessions, second_sessions.n_sessions)
)

select * from bets
