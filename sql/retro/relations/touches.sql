-- purpose: which call touched which file, in order.
-- grain: one row per tool call and file.
-- null: is_error, lines and chars without a result; top_folder for a file that lies outside the workspace, in a hidden
--   folder or in no folder at all.
-- reads: calls (retro/relations/calls.sql), sessions (retro/relations/sessions.sql).
with scope as (
    select count(distinct workspace) > 1 as has_several_workspaces
    from sessions
),

file_touches as (
    select
        session_id,
        seq,
        ts_ms,
        tool_class,
        is_error,
        lines,
        chars,
        unnest(paths) as path
    from calls
    where tool_class in ('read', 'edit', 'shell', 'other')
)

select
    file_touches.*,
    -- With several workspaces, the first part of a path is the workspace's name.
    nullif(
        regexp_extract(
            file_touches.path,
            case when scope.has_several_workspaces then '^([^/~.:][^/]*/[^/.][^/]*)/' else '^([^/~.][^/:]*)/' end,
            1
        ),
        ''
    ) as top_folder
from file_touches
cross join scope
