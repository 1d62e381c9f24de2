"""The declared tables: pinned schemas, and the reference page."""

from __future__ import annotations

from pathlib import Path

import pytest
import write_columns

from kaizen_analytics.exports.columns import LAKE_TABLES, TABLES, ColumnKind, Table
from kaizen_analytics.retro.wording import find_model_id

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "columns.md"
EVERY = [*(make() for make in TABLES.values()), *LAKE_TABLES.values()]

PINNED = {
    # Name and version: each column and the first letter of its type (String, Int64, Float64, Boolean). A column that
    # goes or changes needs a new version; a new one is added here, at the end.
    "kaizen.sessions/1": """
        session:S parent_session:S workspace:S branch:S agent:S model:S started:S ended:S events:I prompts:I
        tool_calls:I failures:I unreliable_responses:I tokens_in:I cache_creation_tokens:I cache_read_tokens:I
        tokens_out:I reasoning_tokens:I cost_usd:F workspace_path:S branch_name:S model_name:S
    """,
    "kaizen.metrics/1": """
        session:S workspace:S agent:S model:S started:S ended:S sessions_counted:I tokens_per_session:F
        total_tokens_per_session:F cost_per_session:F success_rate:F tool_loops:F duration_minutes:F
        active_minutes:F files_per_session:F success_rate_by_prompt:F cost_by_prompt:F tool_error_rate:F
        cache_hit_rate:F prompts_per_session:F responses:I unpriced_responses:I unreliable_responses:I
        checks_passed:F commits_per_session:F landed:F reverted:F rework:F cost_per_commit:F tokens_per_commit:F
        cost_per_surviving_line:F session_score:F
    """,
    "kaizen.experiments/1": """
        experiment:S state:S created:S concluded:S role:S metric:S is_evaluated:B verdict:S decision:S
        guardrail_status:S target_direction:S target:F design:S alpha:F control_sessions:I treatment_sessions:I
        control_missing:I treatment_missing:I control_median:F treatment_median:F control_mean:F
        treatment_mean:F change:F change_low:F change_high:F confidence_at_target:F id:S name:S hypothesis:S
        change_description:S judgement:S grade:S
    """,
    "kaizen.findings/1": """
        window_start:S window_end:S place:I kind:S finding:S times:I sessions:I exposed:I days:I cost_usd:F
        usd_per_week:F title:S change:S
    """,
}


def test_the_schemas_are_those_that_were_promised():
    found = {
        make().label: [f"{name}:{str(kind)[0]}" for name, kind in make().schema.items()] for make in TABLES.values()
    }
    assert found == {label: columns.split() for label, columns in PINNED.items()}


def test_the_reference_page_is_written_from_the_declarations():
    assert write_columns.render_columns() in DOCS.read_text(encoding="utf-8"), "run python data/write_columns.py"


@pytest.mark.parametrize("table", EVERY, ids=lambda table: table.name)
def test_every_column_says_what_it_is_and_when_it_is_null(table: Table):
    assert [column.name for column in table.columns if not column.meaning or not column.null] == []
    assert [column.name for column in table.columns if column.kind is ColumnKind.CHOICE and not column.words] == []
    assert set(table.key) <= set(table.schema)
    assert len(table.schema) == len(table.columns), "a name twice"


def test_no_text_goes_into_a_lake_and_every_row_names_its_source():
    for table in LAKE_TABLES.values():
        assert table.columns[0].name == "source"
        assert ColumnKind.TEXT not in {column.kind for column in table.columns}
        assert not table.is_prose


@pytest.mark.parametrize(
    ("given", "name"),
    [("claude-opus-4-5-20251101", "claude-opus-4-5"), ("gpt-5-codex", "gpt-5"), ("acme-internal-7b", None), ("", None)],
)
def test_only_models_of_the_price_list_are_named(given: str, name: str | None):
    assert find_model_id(given) == name
