"""No word of the store leaves by an export unless somebody asked for text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from canary_stores import CANARY, NOW_MS, WEEK, find_canaries, text_columns

from kaizen_analytics.core.model import Window
from kaizen_analytics.exports.files import Format, deliver, encode
from kaizen_analytics.exports.tables import export_retro, export_table
from kaizen_analytics.redact import Redactor
from kaizen_analytics.retro.followup import Standing
from kaizen_analytics.retro.retro import compute_retro
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.store import Store
from kaizen_analytics.store.retros import decline_finding, list_findings

EMPTY = {
    # Not filled by what the fixture does: ingestion's own notes, and what only an import brings.
    "ka_bets",
    "ka_files",
    "ka_rejects",
    "ka_records",
    "ka_places",
    "session_outcomes",
    "session_evals",
    "session_samples",
    "file_facts",
}
OURS = {
    *(("ka_digests", column) for column in ("digest", "kind")),
    *(("ka_findings", column) for column in ("id", "reason")),
    *(("ka_retros", column) for column in ("id", "workspace")),
    ("ka_samples", "reason"),
    ("ka_tag_log", "reason"),
}


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
    made = export_table(canary_store, name, redactor, now_ms=NOW_MS)
    assert made.frame.height > 1
    assert {form: find_canaries(encode(made, form)) for form in Format} == {form: [] for form in Format}


def test_no_retro_carries_a_word_of_the_store(canary_store: Store, redactor: Redactor):
    retro = compute_retro(canary_store, WEEK, now_ms=NOW_MS)
    assert {"wrong_command", "whole_file", "repeated_prompt"} <= {finding.kind for finding in retro.findings}
    assert retro.experiments
    made = export_retro(retro, Wording(redactor=redactor))
    assert {form: find_canaries(encode(made, form)) for form in Format} == {form: [] for form in Format}


def test_a_follow_up_carries_no_word_either(canary_store: Store, redactor: Redactor):
    decline_finding(canary_store, list_findings(canary_store)[0].id, f"{CANARY} says no", now_ms=NOW_MS)
    week = Window(start_ms=WEEK.end_ms, end_ms=WEEK.end_ms + WEEK.length_ms)
    retro = compute_retro(canary_store, week, now_ms=NOW_MS + week.length_ms)
    assert {one.standing for one in retro.followed} == {Standing.DECLINED, Standing.PROPOSED}
    assert find_canaries(encode(export_retro(retro, Wording(redactor=redactor)), Format.MARKDOWN)) == []


def test_text_that_was_asked_for_leaves_without_secrets(canary_store: Store, redactor: Redactor):
    canary_store.native("update sessions set branch = 'fix jane.doe@corp.io' returning 1")
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS, with_text=True)
    branches = set(made.frame["branch_name"])
    assert len(branches) == 1
    assert str(branches.pop()).startswith("fix <R:em:")
    assert find_canaries(encode(made, Format.CSV))


def test_the_finished_file_is_looked_at_once_more(canary_store: Store, redactor: Redactor, tmp_path: Path, monkeypatch):
    from kaizen_analytics.core.errors import RedactionError

    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    leak = json.dumps({"mail": "jane.doe@corp.io"}).encode()
    monkeypatch.setattr("kaizen_analytics.exports.files.encode", lambda _made, _form: leak)
    target = tmp_path / "sessions.json"
    with pytest.raises(RedactionError, match=r"sessions\.json held 1 value"):
        deliver(made, str(target), None, redactor.scanner)
    assert not target.exists()
