-- id: H4
-- name: dominant tool
-- purpose: one program run in a shell, or one tool beyond reading, searching and editing, that takes a large share of
--   all calls.
-- grain: one row per tool or program.
-- null: never; a shell call whose command is unknown counts by its tool.
-- confidence: low
-- category: hygiene
-- effort_minutes: 30
-- basis: estimate
-- metric: tool_loops
-- needs: calls
-- threshold: min_calls = 15 (tool calls in the window)
-- threshold: min_share = 0.25 (share of all calls)
-- threshold: exploration = '^(ls|cat|head|tail|sed|awk|nl|grep|rg|find|fd|wc|cd|echo|pwd|which|tree|jq|stat)$'
--   (programs that read and search; agents without tools of their own for that use them most of the time)
-- saving: 200 x calls + half the reasoning tokens of the responses that called it.
with all_calls as (
    select
        session_id,
        coalesce(program, tool) as action,
        tool_class,
        count(*) over () as n_all
    from calls
),

actions as (
    select
        action,
        count(*) as n_calls,
        max(n_all) as n_all,
        list(distinct session_id) as evidence
    from all_calls
    where tool_class not in ('read', 'search', 'edit') and not regexp_matches(action, $exploration)
    group by action
),

reasoning as (
    select coalesce(sum(reasoning_tokens), 0) as tokens
    from responses
),

bets as (
    select
        actions.action as bet_key,
        '`'
        || actions.action
        || '` is '
        || cast(cast(round(100.0 * actions.n_calls / actions.n_all) as bigint) as varchar)
        || ' % of all tool calls' as title,
        cast(actions.n_calls as varchar) || ' of ' || cast(actions.n_all as varchar)
        || ' calls. Each call sends the whole context again; fewer, larger calls are cheaper.' as hypothesis,
        'Look at what the calls have in common; a script, a batch call or a hint in the guidance may replace most.'
            as apply_step,
        actions.evidence,
        cast(actions.n_calls as bigint) as occurrences,
        cast(
            (200 * actions.n_calls + reasoning.tokens * (actions.n_calls / actions.n_all) / 2) * $per_week as double
        ) as tokens_saved_per_week
    from actions
    cross join reasoning
    where actions.n_all >= $min_calls and actions.n_calls >= $min_share * actions.n_all
)

select * from bets
