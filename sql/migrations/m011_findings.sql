-- The findings of retros, each in its latest version; made_ms is the end of the first window that had it.
create table if not exists ka_findings (
    id TEXT PRIMARY KEY, finding TEXT NOT NULL, made_ms INTEGER NOT NULL, declined_ms INTEGER, reason TEXT);
