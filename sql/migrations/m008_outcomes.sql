-- What came out of sessions.

-- What came out of each root session: checks, commits, what landed, and a judgement of a person. Null is unknown.
create table if not exists ka_outcomes (
    session_id TEXT PRIMARY KEY, checks INTEGER NOT NULL, checks_passed INTEGER, commits INTEGER,
    commit_ids TEXT NOT NULL, landed INTEGER, reverted INTEGER, lines_added INTEGER, lines_surviving INTEGER,
    pull_request TEXT, reason TEXT, computed_at_ms INTEGER NOT NULL);

-- Of the same name and meaning in kaizen-cli.
create table if not exists session_feedback (
    id TEXT PRIMARY KEY, session_id TEXT NOT NULL, score INTEGER, label TEXT, note TEXT,
    created_at_ms INTEGER NOT NULL);
