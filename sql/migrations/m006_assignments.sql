-- Experiments whose arms are drawn by lot.

-- What the sessions of one arm get: texts, arguments, environment, settings. It never leaves the machine.
create table if not exists ka_arms (
    experiment_id TEXT NOT NULL, arm TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY (experiment_id, arm));

-- What a hook recorded of a session: the unit and the arm, or the reason why it takes no part.
create table if not exists ka_draws (
    experiment_id TEXT NOT NULL, session_id TEXT NOT NULL, unit TEXT, arm TEXT, reason TEXT, at_ms INTEGER NOT NULL,
    PRIMARY KEY (experiment_id, session_id));

-- How far the spool beside the store was folded into it, and how many of its lines were cut off.
create table if not exists ka_spools (
    path TEXT PRIMARY KEY, read_bytes INTEGER NOT NULL, n_rejected INTEGER NOT NULL);
