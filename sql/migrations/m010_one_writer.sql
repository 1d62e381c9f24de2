-- Nobody else writes events here, so nothing need be remembered of whose they are.

drop table if exists ka_sources;

create table if not exists ka_files_now (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, agent TEXT NOT NULL, session_id TEXT NOT NULL,
    stored_as TEXT, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, read_bytes INTEGER NOT NULL,
    prefix_hash TEXT NOT NULL, parser INTEGER NOT NULL, last_ms INTEGER NOT NULL, n_lines INTEGER NOT NULL,
    rejects TEXT NOT NULL, state TEXT NOT NULL, tally TEXT NOT NULL);

insert or replace into ka_files_now select id, path, agent, session_id, stored_as, size_bytes, mtime_ns,
    read_bytes, prefix_hash, parser, last_ms, n_lines, rejects, state, tally from ka_files;

drop table ka_files;

alter table ka_files_now rename to ka_files;
create index if not exists ka_files_session on ka_files (session_id);
