-- purpose: processor and memory use of agent processes, where kaizen-cli samples them.
-- grain: one row per session, time and process.
-- null: cpu_percent or rss_bytes where the sample lacks it.
select
    session_id,
    ts_ms,
    pid,
    cast(cpu_percent as double) as cpu_percent,
    rss_bytes
from session_samples
