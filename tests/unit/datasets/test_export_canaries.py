"""No word of the store leaves by an export unless somebody asked for text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from canary_stores import CANARY, NOW_MS, WEEK, find_canaries, text_columns

from kaizen_analytics.datasets.export import make_export, make_retro_export
from kaizen_analytics.datasets.places import deliver
from kaizen_analytics.datasets.wording import Wording
from kaizen_analytics.exports import Format
from kaizen_analytics.redact import Redactor
from kaizen_analytics.retro.retro import compute_retro
from kaizen_analytics.store import Store
from kaizen_analytics.sync.batches import plan_batches
from kaizen_analytics.sync.settings import Settings

EMPTY = {
    # Not filled by what the fixture does: ingestion's own notes, and tables of former retros with the same texts.
    "ka_files",
    "ka_rejects",
    "ka_records",
    "ka_sources",
    "ka_experiments",
    "ka_guardrails",
    "ka_sync_settings",
    "ka_sync_batches",
    "ka_sync_rows",
}
OURS = {("ka_bets", "retro_id"), ("ka_retros", "id"), ("ka_retros", "workspace"), ("ka_samples", "reason"),
        ("ka_tag_log", "reason")}  # fmt: skip


def test_every_text_column_of_the_store_holds_the_canary(canary_store: Store):
    bare = [
        (table, column)
        for table, column in text_columns(canary_store)
        if table not in EMPTY
        and (table, column) not in OURS
        and not canary_store.native(f'select 1 from "{table}" where "{column}" like ? limit 1', f"%{CANARY}%")
    ]
    assert bare == []


@pytest.mark.parametrize("name", ["sessions", "metrics", "experiments"])
def test_no_table_carries_a_word_of_the_store(canary_store: Store, redactor: Redactor, name: str):
    made = make_export(canary_store, name, redactor, now_ms=NOW_MS)
    assert len(made.rows) > 1
    assert {form: find_canaries(made.encode(form)) for form in Format} == {form: [] for form in Format}


def test_no_retro_carries_a_word_of_the_store(canary_store: Store, redactor: Redactor):
    retro = compute_retro(canary_store, WEEK, now_ms=NOW_MS)
    heuristics = {bet.heuristic for bet in (*retro.choice.made, *retro.choice.further, *retro.choice.repeated)}
    assert {"H3", "H4", "H10", "H34"} <= heuristics, "bets about files and commands"
    assert retro.experiments
    made = make_retro_export(retro, Wording(redactor=redactor))
    assert {form: find_canaries(made.encode(form)) for form in Format} == {form: [] for form in Format}


def test_a_follow_up_on_former_bets_carries_no_word_either(canary_store: Store, redactor: Redactor):
    retro = compute_retro(canary_store, WEEK.shifted(1), now_ms=NOW_MS + 7 * 86_400_000)
    assert retro.former_bets
    assert find_canaries(make_retro_export(retro, Wording(redactor=redactor)).encode(Format.MARKDOWN)) == []


def test_no_batch_of_sync_carries_a_word_of_the_store(canary_store: Store, redactor: Redactor):
    batches = plan_batches(canary_store, Settings(url="https://x.example/in"), redactor, now_ms=NOW_MS)
    assert {batch.dataset for batch in batches} == {"sessions", "metrics", "experiments"}
    assert [batch for batch in batches if CANARY in batch.body.lower()] == []


def test_text_that_was_asked_for_leaves_without_secrets(canary_store: Store, redactor: Redactor):
    canary_store.native("update sessions set branch = 'fix jane.doe@corp.io' returning 1")
    made = make_export(canary_store, "sessions", redactor, now_ms=NOW_MS, with_text=True)
    branches = {row["branch_name"] for row in made.rows}
    assert len(branches) == 1
    assert str(branches.pop()).startswith("fix <R:em:")
    assert find_canaries(made.encode(Format.CSV))


def test_the_finished_file_is_looked_at_once_more(canary_store: Store, redactor: Redactor, tmp_path: Path, monkeypatch):
    from kaizen_analytics.errors import RedactionError

    made = make_export(canary_store, "sessions", redactor, now_ms=NOW_MS)
    leak = json.dumps({"mail": "jane.doe@corp.io"}).encode()
    monkeypatch.setattr(type(made), "encode", lambda _self, _form: leak)
    target = tmp_path / "sessions.json"
    with pytest.raises(RedactionError, match=r"sessions\.json held 1 value"):
        deliver(made, str(target), None, redactor.scanner)
    assert not target.exists()
