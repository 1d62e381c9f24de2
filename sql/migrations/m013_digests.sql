-- What a session with its events, and a conclusion with its sample, was when it was written.
create table if not exists ka_digests (
    kind TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (kind, id)) without rowid;
