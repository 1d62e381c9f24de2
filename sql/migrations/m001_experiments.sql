-- The tables of kaizen-cli, with its names and columns, and what an experiment keeps beside them.

create table if not exists ka_migrations (version INTEGER PRIMARY KEY, applied_at_ms INTEGER NOT NULL);

-- `default "Draft"` is SQLite for the text Draft.
create table if not exists experiments (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL DEFAULT "{}",
    state TEXT NOT NULL DEFAULT "Draft", concluded_at_ms INTEGER);

create table if not exists experiment_tags (
    experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, variant TEXT NOT NULL,
    PRIMARY KEY (experiment_id, session_id));

create table if not exists sessions (
    id TEXT PRIMARY KEY, agent TEXT NOT NULL, model TEXT, workspace TEXT NOT NULL, started_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER, status TEXT NOT NULL, trace_path TEXT NOT NULL, start_commit TEXT, end_commit TEXT,
    branch TEXT, dirty_start INTEGER, dirty_end INTEGER, repo_binding_source TEXT NOT NULL DEFAULT "",
    prompt_fingerprint TEXT, parent_session_id TEXT, agent_version TEXT, os TEXT, arch TEXT,
    repo_file_count INTEGER, repo_total_loc INTEGER);
create index if not exists sessions_workspace_started on sessions (workspace, started_at_ms);

create table if not exists events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, seq INTEGER NOT NULL, ts_ms INTEGER NOT NULL,
    kind TEXT NOT NULL, source TEXT NOT NULL, tool TEXT, tokens_in INTEGER, tokens_out INTEGER,
    cost_usd_e6 INTEGER, payload TEXT NOT NULL, ts_exact INTEGER NOT NULL DEFAULT 0, tool_call_id TEXT,
    reasoning_tokens INTEGER, stop_reason TEXT, latency_ms INTEGER, ttft_ms INTEGER, retry_count INTEGER,
    context_used_tokens INTEGER, context_max_tokens INTEGER, cache_creation_tokens INTEGER,
    cache_read_tokens INTEGER, system_prompt_tokens INTEGER);
create unique index if not exists events_session_seq on events (session_id, seq);
create index if not exists events_session on events (session_id);
create index if not exists events_ts on events (ts_ms);

create table if not exists files_touched (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, path TEXT NOT NULL,
    UNIQUE (session_id, path));

create table if not exists skills_used (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, skill TEXT NOT NULL,
    UNIQUE (session_id, skill));

create table if not exists rules_used (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, rule TEXT NOT NULL,
    UNIQUE (session_id, rule));

-- Former versions kept experiments on metrics that kaizen-cli lacks in a second table, and guardrails on such metrics,
-- with their place in the list of the experiment, in a third; step 9 brings them back.
create table if not exists ka_experiments (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, created_at_ms INTEGER NOT NULL, metadata TEXT NOT NULL,
    state TEXT NOT NULL, concluded_at_ms INTEGER);

create table if not exists ka_guardrails (
    experiment_id TEXT PRIMARY KEY, guardrails TEXT NOT NULL);

create table if not exists ka_tag_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, experiment_id TEXT NOT NULL, session_id TEXT NOT NULL,
    variant TEXT NOT NULL, action TEXT NOT NULL, reason TEXT, at_ms INTEGER NOT NULL);

-- What the experiment was planned to be; frozen_at_ms is set by `start` and never changes after.
create table if not exists ka_plans (
    experiment_id TEXT PRIMARY KEY, plan TEXT NOT NULL, frozen_at_ms INTEGER);

-- The frozen sample: one row per session that the conclusion rests on, or that it excluded.
create table if not exists ka_samples (
    experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, variant TEXT NOT NULL, reason TEXT,
    sample TEXT NOT NULL, PRIMARY KEY (experiment_id, session_id));

-- The frozen evaluation; a row here is what makes an experiment frozen.
create table if not exists ka_results (
    experiment_id TEXT PRIMARY KEY, evaluation TEXT NOT NULL, concluded_at_ms INTEGER NOT NULL);

create table if not exists ka_session_attributes (
    session_id TEXT PRIMARY KEY, user TEXT, organisation TEXT);
