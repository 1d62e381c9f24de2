-- Where a session ran, from the event at seq on.
create table if not exists ka_places (
    session_id TEXT NOT NULL, seq INTEGER NOT NULL, cwd TEXT, branch TEXT,
    PRIMARY KEY (session_id, seq)) without rowid;
