"""The declared tables: pinned schemas, the documentation, and what a row may not do."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kaizen_analytics.datasets import documentation
from kaizen_analytics.datasets.catalogue import DATASETS
from kaizen_analytics.datasets.models import find_model_id
from kaizen_analytics.errors import ConfigError, RedactionError
from kaizen_analytics.redact import ColumnKind, Redactor

DOCS = Path(__file__).resolve().parents[3] / "docs" / "exports.md"

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
    """,
    "kaizen.experiments/1": """
        experiment:S state:S created:S concluded:S role:S metric:S is_evaluated:B verdict:S decision:S
        guardrail_status:S target_direction:S target:F design:S alpha:F control_sessions:I treatment_sessions:I
        control_missing:I treatment_missing:I control_median:F treatment_median:F control_mean:F
        treatment_mean:F change:F change_low:F change_high:F confidence_at_target:F id:S name:S hypothesis:S
        change_description:S judgement:S
    """,
    "kaizen.bets/1": """
        window_start:S window_end:S place:I status:S heuristic:S heuristic_name:S confidence:S category:S
        effort:I basis:S metric:S tokens_saved:I share_of_tokens:F occurrences:I evidence_sessions:I
        evidence_last:S score:F bet_id:S title:S hypothesis:S apply_step:S
    """,
}


def test_the_schemas_are_those_that_were_promised():
    found = {
        make().label: [f"{name}:{str(kind)[0]}" for name, kind in make().schema.items()] for make in DATASETS.values()
    }
    assert found == {label: columns.split() for label, columns in PINNED.items()}


def test_the_documentation_is_written_from_the_catalogue():
    hint = "run python -m kaizen_analytics.datasets.documentation docs/exports.md"
    assert documentation.render_datasets() in DOCS.read_text(encoding="utf-8"), hint


def test_the_documentation_needs_its_markers(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("no markers")
    with pytest.raises(ConfigError, match="add both where the tables belong"):
        documentation.write_datasets(page)


@pytest.mark.parametrize("name", DATASETS)
def test_every_column_says_what_it_is_and_when_it_is_null(name: str):
    dataset = DATASETS[name]()
    assert [field.name for field in dataset.fields if not field.meaning or not field.null] == []
    assert [field.name for field in dataset.fields if (field.kind is ColumnKind.CHOICE) and not field.choices] == []
    assert set(dataset.row_id) <= set(dataset.schema)


def empty_row(name: str) -> dict[str, object]:
    return dict.fromkeys(DATASETS[name]().schema)


def test_text_is_null_until_somebody_asks_for_it(redactor: Redactor):
    row = empty_row("sessions") | {"branch_name": "fix for jane.doe@corp.io"}
    [closed] = DATASETS["sessions"]().project([row], redactor)
    [opened] = DATASETS["sessions"]().project([row], redactor, with_text=True)
    assert closed["branch_name"] is None
    assert str(opened["branch_name"]).startswith("fix for <R:em:")


def test_an_undeclared_column_does_not_leave(redactor: Redactor):
    [row] = DATASETS["metrics"]().project([empty_row("metrics") | {"prompt": "secret plan"}], redactor)
    assert "prompt" not in row


@pytest.mark.parametrize(("column", "value"), [("tokens_in", "12"), ("tokens_in", -1), ("cost_usd", math.nan)])
def test_a_value_of_another_type_stops_everything(redactor: Redactor, column: str, value: object):
    with pytest.raises(RedactionError, match=f"sessions.{column} holds a"):
        DATASETS["sessions"]().project([empty_row("sessions") | {column: value}], redactor)


def test_a_frame_has_the_declared_schema_even_without_rows():
    dataset = DATASETS["bets"]()
    assert dict(dataset.frame([]).schema) == dataset.schema


@pytest.mark.parametrize(
    ("given", "name"),
    [("claude-opus-4-5-20251101", "claude-opus-4-5"), ("gpt-5-codex", "gpt-5"), ("acme-internal-7b", None), ("", None)],
)
def test_only_models_of_the_price_list_are_named(given: str, name: str | None):
    assert find_model_id(given) == name
