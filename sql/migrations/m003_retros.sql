-- Retros, and what they proposed.

-- One row per window and scope: a rerun replaces its own. An empty workspace means all of them.
create table if not exists ka_retros (
    id TEXT PRIMARY KEY, workspace TEXT NOT NULL, window_start_ms INTEGER NOT NULL,
    window_end_ms INTEGER NOT NULL, computed_at_ms INTEGER NOT NULL, retro TEXT NOT NULL);

create table if not exists ka_bets (
    retro_id TEXT NOT NULL, position INTEGER NOT NULL, bet_id TEXT NOT NULL, bet TEXT NOT NULL,
    PRIMARY KEY (retro_id, position));
create index if not exists ka_bets_bet on ka_bets (bet_id);
