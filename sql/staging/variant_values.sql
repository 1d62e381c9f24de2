-- purpose: the values that a manual variant field takes in the payloads of a session and its sub-agents.
-- grain: one row per root session and distinct value.
-- null: never; events without the field, or whose payload is not JSON, give no row.
-- reads: session_roots (staging/session_roots.sql).
with payload_values as (
    select
        session_id,
        json_extract_string(payload, $json_path) as variant_value
    from events
    where json_valid(payload)
)

select distinct
    session_roots.root_id as session_id,
    payload_values.variant_value
from payload_values
inner join session_roots
    on payload_values.session_id = session_roots.session_id
where payload_values.variant_value is not null
