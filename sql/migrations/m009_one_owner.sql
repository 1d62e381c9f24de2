-- The store is ours alone: experiments in one table, and what only kaizen-cli records, filled by import.

-- Again, so that the step can be repeated.
create table if not exists ka_experiments (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL,
    state TEXT NOT NULL, concluded_at_ms INTEGER);

create table if not exists ka_guardrails (
    experiment_id TEXT PRIMARY KEY, guardrails TEXT NOT NULL);

insert or ignore into experiments (id, name, created_at_ms, metadata, state, concluded_at_ms)
    select id, name, created_at_ms, metadata, state, concluded_at_ms from ka_experiments;

-- Guardrails of the third table come back to their places: one that stood at k of its own list and at p of the whole
-- has p - k others before it.
update experiments set metadata = json_set(metadata, "$.guardrails", (
    select json_group_array(json(spec)) from (
        select spec from (
            select cast(own.value->>0 as integer) as place, json_object("metric", own.value->>1,
                "regression_direction", own.value->>2, "threshold_pct", own.value->3) as spec
            from json_each((select guardrails from ka_guardrails where experiment_id = experiments.id)) as own
            union all
            select shared.key + (
                select count(*)
                from json_each((select guardrails from ka_guardrails where experiment_id = experiments.id)) as own
                where (own.value->>0) - own.key <= shared.key), shared.value
            from json_each(experiments.metadata, "$.guardrails") as shared
        ) order by place
    )))
where json_valid(metadata) and id in (select experiment_id from ka_guardrails where json_valid(guardrails));

drop table ka_experiments;

drop table ka_guardrails;

-- What a retro reads and only kaizen-cli records: its tables, filled by `import`.
create table if not exists session_outcomes (
    session_id TEXT PRIMARY KEY, test_passed INTEGER, test_failed INTEGER, test_skipped INTEGER, build_ok INTEGER,
    lint_errors INTEGER, revert_lines_14d INTEGER, pr_open INTEGER, ci_ok INTEGER, measured_at_ms INTEGER,
    measure_error TEXT);

create table if not exists session_evals (
    id TEXT PRIMARY KEY, session_id TEXT NOT NULL, judge_model TEXT, rubric_id TEXT, score REAL NOT NULL,
    rationale TEXT, flagged INTEGER, created_at_ms INTEGER NOT NULL);

create table if not exists session_samples (
    session_id TEXT NOT NULL, ts_ms INTEGER NOT NULL, pid INTEGER NOT NULL, cpu_percent REAL, rss_bytes INTEGER,
    PRIMARY KEY (session_id, ts_ms, pid));

create table if not exists file_facts (
    snapshot_id TEXT NOT NULL, path TEXT NOT NULL, loc INTEGER, bytes INTEGER, complexity_total INTEGER,
    PRIMARY KEY (snapshot_id, path));
