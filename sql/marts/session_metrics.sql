-- purpose: every metric of every session, with what says how far the numbers can be trusted.
-- grain: one row per root session (session_roots maps a session to its root; to itself when sub-agents stay apart).
-- null: a metric is null where its definition has no value (docs/reference/metrics.md), never 0; files are never null.
-- reads: sessions, files_touched, staged_events (staging/events.sql), session_roots (staging/session_roots.sql),
-- root_outcomes (staging/root_outcomes.sql).
with event_marks as (
    select
        session_roots.root_id,
        staged_events.kind,
        staged_events.ts_ms,
        staged_events.tokens_in,
        staged_events.tokens_out,
        staged_events.reasoning_tokens,
        staged_events.cache_creation_tokens,
        staged_events.cache_read_tokens,
        staged_events.cost_usd_e6,
        staged_events.is_prompt,
        staged_events.is_unreliable,
        staged_events.is_error,
        case when staged_events.session_id = session_roots.root_id then 1 else 0 end as is_own,
        case when coalesce(staged_events.message_role, '') = 'assistant' then 1 else 0 end as is_assistant,
        case
            when
                coalesce(
                    staged_events.tokens_in,
                    staged_events.tokens_out,
                    staged_events.reasoning_tokens,
                    staged_events.cache_creation_tokens,
                    staged_events.cache_read_tokens
                ) is not null
                then 1
            else 0
        end as has_usage
    from staged_events
    inner join session_roots
        on staged_events.session_id = session_roots.session_id
),

event_sums as (
    select
        root_id,
        sum(case when kind = 'Error' then 1 else 0 end) as n_errors,
        sum(has_usage) as n_responses,
        sum(case when has_usage = 1 and cost_usd_e6 is null then 1 else 0 end) as n_unpriced,
        sum(case when has_usage = 1 and coalesce(is_unreliable, 0) = 1 then 1 else 0 end) as n_unreliable,
        sum(case when is_own = 1 and coalesce(is_prompt, 0) = 1 then 1 else 0 end) as n_prompts,
        -- Messages that follow our marks; a store without any cannot tell prompts from other messages.
        sum(
            case
                when is_own = 1 and kind = 'Message' and coalesce(is_prompt, 0) = 1 then 1
                when is_own = 1 and kind = 'Message' and has_usage = 1 and is_assistant = 1 then 1
                else 0
            end
        ) as n_marked,
        sum(case when is_error is not null then 1 else 0 end) as n_outcomes,
        sum(coalesce(is_error, 0)) as n_failed,
        max(ts_ms) as last_event_ms,
        cast(sum(tokens_in) as double) as tokens_in,
        cast(sum(tokens_out) as double) as tokens_out,
        cast(sum(reasoning_tokens) as double) as reasoning_tokens,
        cast(sum(cache_creation_tokens) as double) as cache_creation_tokens,
        cast(sum(cache_read_tokens) as double) as cache_read_tokens,
        cast(sum(cost_usd_e6) as double) / 1e6 as cost_usd
    from event_marks
    group by root_id
),

tool_calls as (
    select
        session_roots.root_id,
        staged_events.tool,
        lag(staged_events.tool) over (
            partition by staged_events.session_id order by staged_events.ts_ms, staged_events.seq
        ) as tool_before
    from staged_events
    inner join session_roots
        on staged_events.session_id = session_roots.session_id
    where staged_events.kind = 'ToolCall'
),

tool_sums as (
    select
        root_id,
        sum(
            case when tool is not null and tool_before is not null and tool = tool_before then 1 else 0 end
        ) as n_loops
    from tool_calls
    group by root_id
),

gaps as (
    select
        session_roots.root_id,
        staged_events.ts_ms - lag(staged_events.ts_ms) over (
            partition by session_roots.root_id order by staged_events.ts_ms
        ) as gap_ms
    from staged_events
    inner join session_roots
        on staged_events.session_id = session_roots.session_id
    where staged_events.ts_exact = 1
),

gap_sums as (
    select
        root_id,
        cast(sum(case when gap_ms > 300000 then 300000 else gap_ms end) as double) as active_ms
    from gaps
    where gap_ms is not null
    group by root_id
),

file_sums as (
    select
        session_roots.root_id,
        count(distinct files_touched.path) as n_files
    from files_touched
    inner join session_roots
        on files_touched.session_id = session_roots.session_id
    group by session_roots.root_id
),

spans as (
    select
        session_roots.root_id,
        count(*) as n_sessions,
        min(sessions.started_at_ms) as first_start_ms,
        max(sessions.ended_at_ms) as last_end_ms
    from sessions
    inner join session_roots
        on sessions.id = session_roots.session_id
    group by session_roots.root_id
),

per_session as (
    select
        sessions.id as session_id,
        sessions.agent,
        sessions.model,
        sessions.workspace,
        sessions.started_at_ms,
        spans.last_end_ms as ended_at_ms,
        spans.n_sessions,
        event_sums.n_errors,
        event_sums.cache_read_tokens,
        case
            when coalesce(event_sums.n_marked, 0) > 0 then cast(event_sums.n_prompts as double)
            else null
        end as prompts,
        case
            when event_sums.n_responses > event_sums.n_unpriced then event_sums.cost_usd
            else null
        end as cost_usd,
        case
            when
                coalesce(
                    event_sums.tokens_in,
                    event_sums.cache_creation_tokens,
                    event_sums.tokens_out,
                    event_sums.reasoning_tokens
                ) is not null
                then
                    coalesce(event_sums.tokens_in, 0e0) + coalesce(event_sums.cache_creation_tokens, 0e0)
                    + coalesce(event_sums.tokens_out, 0e0) + coalesce(event_sums.reasoning_tokens, 0e0)
            else null
        end as tokens,
        case
            when
                coalesce(
                    event_sums.tokens_in, event_sums.cache_creation_tokens, event_sums.cache_read_tokens
                ) is not null
                then
                    coalesce(event_sums.tokens_in, 0e0) + coalesce(event_sums.cache_creation_tokens, 0e0)
                    + coalesce(event_sums.cache_read_tokens, 0e0)
            else null
        end as input_tokens,
        tool_sums.n_loops,
        cast(spans.last_end_ms - spans.first_start_ms as double) / 6e4 as duration_minutes,
        gap_sums.active_ms / 6e4 as active_minutes,
        coalesce(file_sums.n_files, 0) as n_files,
        event_sums.n_failed,
        event_sums.n_outcomes,
        event_sums.last_event_ms,
        root_outcomes.checks_passed,
        root_outcomes.n_commits,
        root_outcomes.landed,
        root_outcomes.reverted,
        root_outcomes.lines_added,
        root_outcomes.lines_surviving,
        root_outcomes.score,
        coalesce(event_sums.n_responses, 0) as responses,
        coalesce(event_sums.n_unpriced, 0) as unpriced_responses,
        coalesce(event_sums.n_unreliable, 0) as unreliable_responses
    from sessions
    inner join spans
        on sessions.id = spans.root_id
    left join event_sums
        on sessions.id = event_sums.root_id
    left join tool_sums
        on sessions.id = tool_sums.root_id
    left join gap_sums
        on sessions.id = gap_sums.root_id
    left join file_sums
        on sessions.id = file_sums.root_id
    left join root_outcomes
        on sessions.id = root_outcomes.session_id
),

session_metrics as (
    select
        session_id,
        agent,
        model,
        workspace,
        cast(started_at_ms as bigint) as started_at_ms,
        cast(ended_at_ms as bigint) as ended_at_ms,
        cast(n_sessions as bigint) as sessions_counted,
        tokens as tokens_per_session,
        case
            when tokens is not null or cache_read_tokens is not null
                then coalesce(tokens, 0e0) + coalesce(cache_read_tokens, 0e0)
            else null
        end as total_tokens_per_session,
        cost_usd as cost_per_session,
        case when n_errors is null then null when n_errors = 0 then 1e0 else 0e0 end as success_rate,
        cast(n_loops as double) as tool_loops,
        duration_minutes,
        active_minutes,
        cast(n_files as double) as files_per_session,
        case
            when prompts is not null and prompts > 0e0 and n_errors < prompts
                then 1e0 - cast(n_errors as double) / prompts
            when prompts is not null and prompts > 0e0 then 0e0
            else null
        end as success_rate_by_prompt,
        cost_usd / nullif(prompts, 0e0) as cost_by_prompt,
        cast(n_failed as double) / nullif(cast(n_outcomes as double), 0e0) as tool_error_rate,
        cache_read_tokens / nullif(input_tokens, 0e0) as cache_hit_rate,
        prompts as prompts_per_session,
        checks_passed,
        n_commits as commits_per_session,
        landed,
        reverted,
        1e0 - lines_surviving / nullif(lines_added, 0e0) as rework,
        cost_usd / nullif(n_commits, 0e0) as cost_per_commit,
        tokens / nullif(n_commits, 0e0) as tokens_per_commit,
        cost_usd / nullif(lines_surviving, 0e0) as cost_per_surviving_line,
        score as session_score,
        -- Filled in for the sample of an experiment that is to prove a finding.
        cast(null as double) as finding_rate,
        cast(responses as bigint) as responses,
        cast(unpriced_responses as bigint) as unpriced_responses,
        cast(unreliable_responses as bigint) as unreliable_responses,
        cast(last_event_ms as bigint) as last_event_ms,
        cast(n_outcomes as double) as tool_results,
        input_tokens,
        lines_added,
        lines_surviving
    from per_session
)

select * from session_metrics
