-- purpose: tests, lint and reverted lines after a session, where kaizen-cli measures them.
-- grain: one row per session.
-- null: what was not measured.
select
    session_id,
    test_passed,
    test_failed,
    lint_errors,
    revert_lines_14d
from session_outcomes
