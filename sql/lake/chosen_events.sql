-- purpose: the events of a lake that count: of each session only those of the source that was chosen for it.
-- grain: one row per event; session_id is the number of the session, which joins several times faster than its text.
-- null: as in staging/events.sql.
-- reads: lake_events (files of a lake), chosen_sessions (session_id, source, number).
select
    chosen_sessions.number as session_id,
    lake_events.seq,
    lake_events.ts_ms,
    lake_events.ts_exact,
    lake_events.kind,
    lake_events.tool,
    lake_events.tokens_in,
    lake_events.tokens_out,
    lake_events.reasoning_tokens,
    lake_events.cache_creation_tokens,
    lake_events.cache_read_tokens,
    lake_events.cost_usd_e6,
    lake_events.message_role,
    lake_events.is_prompt,
    lake_events.is_unreliable,
    lake_events.is_error
from lake_events
inner join chosen_sessions
    on
        lake_events.session_id = chosen_sessions.session_id
        and lake_events.source = chosen_sessions.source
