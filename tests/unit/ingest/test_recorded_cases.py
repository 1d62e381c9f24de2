"""Folders of recorded cases, each with its right values; skipped where `KAIZEN_TEST_CASES` names no such folder.

The cases lie outside of the repository, because they are records of other people's agents. Every kind of case has
small inputs of its own in the other tests of this folder.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from ingest_lines import rows

from kaizen_analytics.ingest.pipeline import run_ingest

_FOLDER = os.environ.get("KAIZEN_TEST_CASES")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(_FOLDER is None, reason="KAIZEN_TEST_CASES names no folder")]

_GIVEN = "sum(coalesce(tokens_in, 0) + coalesce(cache_creation_tokens, 0))"
_TOTALS = f"""select count(distinct session_id), sum(kind = 'Message' and tokens_out is not null),
    sum(coalesce(payload->>'prompt', 0)), {_GIVEN}, sum(coalesce(cache_read_tokens, 0)),
    sum(coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0)) from events"""

TOTALS = {
    "01-gateway-message-id": ("2", "4", "2", "10000", "0", "100"),
    "01c-one-session-constant-id": ("1", "3", None, "6000", "0", None),
    "02-codex-resume-segments": ("1", "3", "3", "3000", "3000", "600"),
    "05-cowork": ("2", "2", "2", "1100", "0", "310"),
    "06a-cursor-gui-workspace": ("1", "1", "1", "1000", "0", "50"),
    "06b-cursor-both": ("1", "2", "1", "2200", "0", "120"),
    "06e-mac-home": ("1", "0", "1", "0", "0", "0"),
    "06f-win-home": ("1", "0", "1", "0", "0", "0"),
    "17-clock": ("5", "5", "5", "500", "0", "50"),
    "20-cursor-wal-readonly": ("1", None, "1", None, "0", None),
    "guardian": ("1", "2", "0", "13636", "15360", "363"),
    "int64": ("1", None, None, None, None, None),
}
"""Sessions, responses, prompts, input with cache writes, cache reads, output with reasoning; None: not compared."""


@pytest.fixture
def case(tmp_path):
    def copy(name):
        folder = tmp_path / name
        shutil.copytree(Path(_FOLDER) / name, folder)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        inner = next((folder / part for part in ("home", "h") if (folder / part).is_dir()), None)
        return inner or folder

    return copy


def costs(store, by="session_id"):
    found = rows(store, f"select {by}, sum(cost_usd_e6) from events group by 1 order by 1")
    return {name: None if cost is None else int(cost) / 1e6 for name, cost in found}


@pytest.mark.parametrize("name", TOTALS)
def test_a_case_has_the_right_totals(store, case, name):
    run_ingest(store, [case(name)])

    [found] = rows(store, _TOTALS)
    right = TOTALS[name]
    assert tuple(told if wanted is not None else None for told, wanted in zip(found, right, strict=True)) == right


def test_constant_ids_stay_in_their_session(store, case):
    run_ingest(store, [case("01-gateway-message-id")])

    assert rows(store, f"select {_GIVEN} from events group by session_id order by session_id") == [("3000",), ("7000",)]


def test_a_conversation_of_the_window_has_its_folder(store, case):
    run_ingest(store, [case("06a-cursor-gui-workspace")], workspace=Path("/home/dev/repo"))

    assert rows(store, "select workspace from sessions") == [("/home/dev/repo",)]


def test_a_conversation_in_two_places_starts_when_it_started(store, case):
    run_ingest(store, [case("06b-cursor-both")])

    assert rows(store, "select started_at_ms from sessions") == [("1788256800000",)]
    assert rows(store, "select count(*) from events where kind = 'ToolResult'") == [("1",)]


def test_cost_falls_on_the_days_of_the_responses(store, case):
    run_ingest(store, [case("09b-long-session")])

    found = costs(store, "strftime('%W', ts_ms / 1000, 'unixepoch')")
    assert found == {"32": pytest.approx(0.005, abs=0.001), "34": pytest.approx(0.5, abs=0.01),
                     "35": pytest.approx(2.5, abs=0.02)}  # fmt: skip


@pytest.mark.parametrize("order", [("new", "old"), ("old", "new")])
@pytest.mark.parametrize("split", [True, False])
def test_two_homes_with_one_session_in_any_order(store, case, order, split):
    folder = case("15-two-homes")
    homes = [folder / name for name in order]
    for part in [[home] for home in homes] if split else [homes]:
        run_ingest(store, part)

    [found] = rows(store, _TOTALS)
    assert (found[0], found[3], found[5]) == ("1", "300", "30")


def test_nothing_appears_beside_a_database(store, case):
    home = case("20-cursor-wal-readonly")
    before = {path.name for path in home.rglob("*")}
    run_ingest(store, [home])

    assert {path.name for path in home.rglob("*")} == before


def test_a_parent_keeps_its_cost_beside_a_child_without_price(store, case):
    run_ingest(store, [case("38-auto-review-child")])

    assert costs(store)["01a40000-0000-7000-8000-000000000001"] > 1


def test_a_fast_model_has_the_fast_price_or_none(store, case):
    run_ingest(store, [case("44-fast-alias")])

    assert [round(cost, 2) for cost in costs(store).values()] == [1.5, 2.0]  # the standard ones are 0.75 and 0.80


def test_what_a_resume_overwrote_stays(store, case):
    folder = case("45-overwritten-on-resume")
    home = folder / "before"
    run_ingest(store, [home])
    shutil.copytree(folder / "after", home, dirs_exist_ok=True)
    summary = run_ingest(store, [home])

    [found] = rows(store, _TOTALS)
    assert (found[2], found[3], found[5]) == ("4", "6070", "607")
    assert summary.agents["claude_code"].kept_prompts == 3
    next(home.rglob("*.jsonl")).write_bytes(b"")
    run_ingest(store, [home])
    assert rows(store, _TOTALS) == [found]


def test_a_refused_attempt_costs_nothing(store, case):
    run_ingest(store, [case("fallback")])

    found = rows(store, "select cost_usd_e6, payload->>'attempt' from events where kind = 'Message'")
    assert ("0", "1") in found
    assert len(found) == 2


def test_an_original_that_went_on_keeps_its_responses(store, case):
    run_ingest(store, [case("fork-original-goes-on")])

    owners = rows(store, "select substr(session_id, 1, 8), sum(tokens_out is not null) from events group by 1")
    assert dict(owners) == {"72b72b89": "5", "8d1022d5": "2"}


def test_a_huge_count_is_a_reject(store, case):
    summary = run_ingest(store, [case("int64")]).agents["claude_code"]

    assert summary.rejects == {"bad_number": 1}
