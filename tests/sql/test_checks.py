"""Every check of sql/checks passes on a clean store and finds the one row that contradicts it."""

import json

import pytest
from rows import write_rows

from kaizen_analytics.core.settings import find_folder
from kaizen_analytics.store import Store
from kaizen_analytics.store.checks import Severity, _run_check, run_checks

SESSION = "insert into sessions (id, agent, workspace, started_at_ms, ended_at_ms, status, trace_path) values "
EVENT = "insert into events (session_id, seq, ts_ms, kind, source, payload, tokens_in, cost_usd_e6) values "
EXPERIMENT = "insert into experiments (id, name, created_at_ms, metadata, state) values "
TAG = "insert into experiment_tags values "
RESULT = "insert into ka_results values ('e', '{}', 1)"
SAMPLE = "insert into ka_samples values ('e', 's', 'Control', null, '{}')"

BROKEN = {
    "ended_before_started": [SESSION + "('late', 'a', '/w', 10, 9, 'Done', '')"],
    "events_grain": [
        "drop index events_session_seq",
        EVENT + "('s', 0, 1, 'Message', 'Tail', '{}', 1, 1)",
    ],
    "events_without_session": [EVENT + "('lost', 0, 1, 'Message', 'Tail', '{}', 1, 1)"],
    "frozen_sample_complete": [EXPERIMENT + "('e', 'e', 1, '{}', 'Concluded')", RESULT],
    "frozen_without_conclusion": [EXPERIMENT + "('e', 'e', 1, '{}', 'Running')", RESULT, SAMPLE],
    "incomplete_output_counts": [
        EVENT + "('s', 1, 1, 'Message', 'Tail', '{\"prompt\":true,\"unreliable\":true}', 1, 1)"
    ],
    "negative_numbers": [EVENT + "('s', 1, 1, 'Message', 'Tail', '{\"prompt\":true}', -1, 1)"],
    "odd_clocks": [SESSION + "('old', 'a', '/w', 1, 2, 'Done', '')"],
    "parent_circles": [
        "update sessions set parent_session_id = 's' where id = 's'",
        SESSION + "('t', 'a', '/w', 10, null, 'Done', '')",
        "update sessions set parent_session_id = 's' where id = 't'",
    ],
    "running_without_plan": [EXPERIMENT + "('e', 'e', 1, '{}', 'Running')"],
    "tags_without_arm": [EXPERIMENT + "('e', 'e', 1, '{}', 'Draft')", TAG + "('e', 's', 'Left')"],
    "tags_without_experiment": [TAG + "('lost', 's', 'Control')"],
    "unmarked_prompts": [
        SESSION + "('bare', 'codex', '/w', 1, 2, 'Done', '')",
        EVENT + "('bare', 0, 1, 'Message', 'Tail', '{}', null, null)",
    ],
    "unpriced_models": [EVENT + "('s', 1, 1, 'Message', 'Tail', '{}', 5, null)"],
}


@pytest.fixture
def store(store: Store) -> Store:
    """One clean session with one priced, marked response."""
    at_ms = 1_767_225_600_001
    session = {"id": "s", "started_at_ms": at_ms, "ended_at_ms": at_ms + 1, "trace_path": ""}
    write_rows(store, [session], [{"session_id": "s", "ts_ms": at_ms, "tokens_in": 10, "cost_usd_e6": 1}])
    return store


def change(store: Store, statements: list[str]) -> None:
    """Write as another tool would, in a process of its own: one SQLite library per process."""
    import subprocess
    import sys

    script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nfor s in sys.argv[2:]: c.execute(s)\nc.commit()"
    subprocess.run([sys.executable, "-c", script, str(store.path), *statements], check=True)


def test_every_check_is_tested() -> None:
    files = (find_folder("sql") / "checks").glob("*.sql")
    assert {file.stem for file in files} == set(BROKEN)


def test_a_clean_store_passes_every_check(store: Store) -> None:
    results = run_checks(store)
    assert [result.name for result in results if not result.passed] == []
    assert {"integrity", "waiting_draws", "lost_draws", *BROKEN} == {result.name for result in results}


@pytest.mark.parametrize("name", BROKEN)
def test_a_check_finds_what_contradicts_it(store: Store, name: str) -> None:
    change(store, BROKEN[name])
    result = _run_check(store, name)
    assert not result.passed
    assert result.examples
    json.dumps(result.to_json(), allow_nan=False)


def test_what_breaks_numbers_is_an_error_and_what_is_missing_a_note(store: Store) -> None:
    notes = {result.name for result in run_checks(store) if result.severity is Severity.NOTE}
    assert notes == {
        *("incomplete_output_counts", "lost_draws", "odd_clocks", "running_without_plan", "unmarked_prompts"),
        *("unpriced_models", "waiting_draws"),
    }


def test_the_model_without_a_price_is_the_responses_not_the_sessions(store: Store) -> None:
    change(
        store,
        [
            "update sessions set model = 'known' where id = 's'",
            EVENT + "('s', 1, 1, 'Message', 'Tail', '{\"model\":\"nobody\"}', 5, null)",
        ],
    )

    assert [row["model_name"] for row in _run_check(store, "unpriced_models").examples] == ["nobody"]


def test_a_session_that_runs_in_the_future_is_noted(store: Store) -> None:
    change(store, [SESSION + "('ahead', 'a', '/w', 1767225600000, 95617584000000, 'Done', '')"])

    assert [row["session_id"] for row in _run_check(store, "odd_clocks").examples] == ["ahead"]
