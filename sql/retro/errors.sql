-- purpose: errors of the service, and interruptions.
-- grain: one row per error.
-- null: never.
select
    session_id,
    seq,
    ts_ms,
    coalesce(try(json_extract_string(payload, '$.error')), 'unknown') as error
from events
where kind = 'Error'
