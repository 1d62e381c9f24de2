-- id: H13
-- name: delegation load
-- purpose: much work goes through MCP servers or sub-agents.
-- grain: one row for MCP servers, one for sub-agents.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 30
-- basis: estimate
-- metric: tokens_per_session
-- needs: calls
-- threshold: min_calls = 20 (tool calls in the window)
-- threshold: min_mcp_share = 0.12 (share of the calls that go to an MCP server)
-- threshold: min_sessions = 6 (sessions in the window)
-- threshold: min_sub_agent_share = 0.15 (share of the sessions that are sub-agents)
-- threshold: min_sub_agent_tokens = 0.3 (share of the tokens that sub-agents use)
-- saving: 80 x MCP calls; 250 x sub-agent sessions.
with mcp as (
    select
        count(*) as n_all,
        count(*) filter (where tool_class = 'mcp') as n_mcp,
        list(distinct session_id) filter (where tool_class = 'mcp') as evidence
    from calls
),

sub_agents as (
    select
        count(*) as n_all,
        count(*) filter (where parent_session_id is not null) as n_sub_agents,
        list(id) filter (where parent_session_id is not null) as evidence
    from sessions
),

session_tokens as (
    select
        session_id,
        sum(
            coalesce(tokens_in, 0) + coalesce(cache_creation_tokens, 0) + coalesce(tokens_out, 0)
            + coalesce(reasoning_tokens, 0)
        ) as tokens
    from responses
    group by session_id
),

delegated as (
    select
        coalesce(sum(session_tokens.tokens) filter (where sessions.parent_session_id is not null), 0) as tokens,
        sum(session_tokens.tokens) as all_tokens
    from session_tokens
    inner join sessions
        on session_tokens.session_id = sessions.id
),

bets as (
    select
        'mcp' as bet_key,
        cast(cast(round(100.0 * n_mcp / n_all) as bigint) as varchar) || ' % of tool calls go to MCP servers' as title,
        cast(n_mcp as varchar) || ' of ' || cast(n_all as varchar)
        || ' calls. Every connected server adds its tool descriptions to every request.' as hypothesis,
        'Disconnect servers that no task of the week needed; keep the others out of sessions that do not need them.'
            as apply_step,
        evidence,
        cast(n_mcp as bigint) as occurrences,
        cast(80 * n_mcp * $per_week as double) as tokens_saved_per_week
    from mcp
    where n_all >= $min_calls and n_mcp >= $min_mcp_share * n_all
    union all
    select
        'sub-agents' as bet_key,
        'Sub-agents use '
        || printf('%.0f %%', 100.0 * delegated.tokens / delegated.all_tokens)
        || ' of all tokens' as title,
        cast(n_sub_agents as varchar) || ' of ' || cast(n_all as varchar)
        || ' sessions are sub-agents. Each reads the code anew; what it learned is lost when it ends.' as hypothesis,
        'Delegate searches with a small answer; keep edits and their context in one session.' as apply_step,
        evidence,
        cast(n_sub_agents as bigint) as occurrences,
        cast(250 * n_sub_agents * $per_week as double) as tokens_saved_per_week
    from sub_agents
    cross join delegated
    where
        n_all >= $min_sessions
        and n_sub_agents >= $min_sub_agent_share * n_all
        and delegated.tokens >= $min_sub_agent_tokens * delegated.all_tokens
)

select * from bets
