-- Outcomes that remember what git was asked, and counted lines.

-- branch_tip is the commit of the default branch at which git was asked, due_ms when lines are to be counted next,
-- and mark changes with the events of the session.
create table if not exists ka_outcomes_now (
    session_id TEXT PRIMARY KEY, checks INTEGER NOT NULL, checks_passed INTEGER, commits INTEGER,
    commit_ids TEXT NOT NULL, landed INTEGER, reverted INTEGER, lines_added INTEGER, lines_surviving INTEGER,
    pull_request TEXT, reason TEXT, computed_at_ms INTEGER NOT NULL, branch_tip TEXT, due_ms INTEGER,
    mark TEXT);

insert or replace into ka_outcomes_now (session_id, checks, checks_passed, commits, commit_ids, landed, reverted,
    lines_added, lines_surviving, pull_request, reason, computed_at_ms)
    select session_id, checks, checks_passed, commits, commit_ids, landed, reverted, lines_added, lines_surviving,
    pull_request, reason, computed_at_ms from ka_outcomes;

drop table ka_outcomes;

alter table ka_outcomes_now rename to ka_outcomes;

-- How many lines of a commit are left at another one; at the commit itself, how many it added. Never changes.
create table if not exists ka_lines (
    commit_id TEXT NOT NULL, at_commit TEXT NOT NULL, lines INTEGER NOT NULL,
    PRIMARY KEY (commit_id, at_commit)) without rowid;
