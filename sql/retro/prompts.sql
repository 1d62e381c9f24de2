-- purpose: what people typed.
-- grain: one row per prompt, sub-agents' excluded (nobody typed those).
-- null: text where nobody recorded it.
select
    session_id,
    seq,
    ts_ms,
    try(json_extract_string(payload, '$.text')) as text,
    try_cast(try(json_extract_string(payload, '$.chars')) as bigint) as chars
from events
where kind = 'Message' and try(json_extract_string(payload, '$.prompt')) = 'true'
