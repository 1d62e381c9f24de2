-- id: H18
-- name: deep delegation
-- purpose: a session whose sub-agents start sub-agents, or that starts very many.
-- grain: one row per root session.
-- null: never.
-- confidence: low
-- category: hygiene
-- effort_minutes: 45
-- basis: estimate
-- metric: cost_per_session
-- needs: sessions.parent_session_id
-- threshold: min_depth = 4 (levels of the tree, the root included)
-- threshold: min_fan_out = 8 (sub-agents of one session)
-- saving: 600 x levels + a tenth of the tokens of the sub-agents.
with recursive tree as (
    select
        id,
        root_id,
        1 as depth
    from sessions
    where id = root_id
    union all
    select
        sessions.id,
        sessions.root_id,
        tree.depth + 1 as depth
    from sessions
    inner join tree
        on sessions.parent_session_id = tree.id and sessions.id <> sessions.root_id
),

depths as (
    select
        root_id,
        max(depth) as depth,
        list(id) as evidence
    from tree
    group by root_id
),

fan_outs as (
    select
        root_id,
        max(n_children) as fan_out
    from (
        select
            root_id,
            parent_session_id,
            count(*) as n_children
        from sessions
        where parent_session_id is not null
        group by root_id, parent_session_id
    ) as children
    group by root_id
),

sub_agent_tokens as (
    select
        sessions.root_id,
        sum(
            coalesce(responses.tokens_in, 0) + coalesce(responses.cache_creation_tokens, 0)
            + coalesce(responses.tokens_out, 0) + coalesce(responses.reasoning_tokens, 0)
        ) as tokens
    from sessions
    inner join responses
        on sessions.id = responses.session_id
    where sessions.id <> sessions.root_id
    group by sessions.root_id
),

bets as (
    select
        depths.root_id as bet_key,
        'One session delegated ' || cast(depths.depth as varchar) || ' levels deep to up to '
        || cast(fan_outs.fan_out as varchar) || ' sub-agents' as title,
        'Each level repeats the context of the one above; the answer travels back through all of them.' as hypothesis,
        'Give sub-agents a task that they can finish alone, and forbid them to delegate further.' as apply_step,
        depths.evidence,
        cast(len(depths.evidence) as bigint) as occurrences,
        cast((600 * depths.depth + coalesce(sub_agent_tokens.tokens, 0) / 10) * $per_week as double)
            as tokens_saved_per_week
    from depths
    inner join fan_outs
        on depths.root_id = fan_outs.root_id
    left join sub_agent_tokens
        on depths.root_id = sub_agent_tokens.root_id
    where depths.depth >= $min_depth or fan_outs.fan_out >= $min_fan_out
)

select * from bets
