-- What was read of each transcript.

-- Whose events a session has. Rows that another tool added show in the count or the checksum.
create table if not exists ka_sources (
    session_id TEXT PRIMARY KEY, owner TEXT NOT NULL, n_events INTEGER NOT NULL, checksum INTEGER NOT NULL);

-- How far each transcript was read. `state` is that of the parser, `tally` the counts of a session in the making.
create table if not exists ka_files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, session_id TEXT NOT NULL,
    stored_as TEXT, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, read_bytes INTEGER NOT NULL,
    prefix_hash TEXT NOT NULL, parser INTEGER NOT NULL, last_ms INTEGER NOT NULL, shared INTEGER NOT NULL,
    n_foreign INTEGER NOT NULL, n_lines INTEGER NOT NULL, rejects TEXT NOT NULL, state TEXT NOT NULL,
    tally TEXT NOT NULL);
create index if not exists ka_files_session on ka_files (session_id);

create table if not exists ka_rejects (
    file_id INTEGER NOT NULL, line INTEGER NOT NULL, offset_bytes INTEGER NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, PRIMARY KEY (file_id, line)) without rowid;

-- Which files hold which record (a 64-bit hash of its id), and which of them owns it.
create table if not exists ka_records (
    file_id INTEGER NOT NULL, record INTEGER NOT NULL, seq INTEGER, original INTEGER NOT NULL, tokens TEXT,
    PRIMARY KEY (file_id, record)) without rowid;
create index if not exists ka_records_record on ka_records (record);
