-- The sessions that could have shown the finding that an experiment is to prove, and whether they did.
create table if not exists ka_exposures (
    experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, hit INTEGER NOT NULL,
    PRIMARY KEY (experiment_id, session_id));
