"""Codex builds that number their records: a response's own record, items, segments, and copies of every kind."""

from __future__ import annotations

import pytest
from ingest_lines import codex, codex_file, counts, feed, lines, meta, token_count, turn

from kaizen_analytics.ingest.codex import CodexParser
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.records import Agent, Kind
from kaizen_analytics.store import Store

OWN = "019fa149-577c-7d90-9f1c-a447ba2254b4"
PARENT = "019fa108-46c9-7f73-affe-4e6ca9852d56"
OLD_TURN = "019fa108-f1d2-78a1-ae52-df8e21f9b394"
OWN_TURN = "019fa149-57aa-7373-b23c-bcf62344db6f"
SPAWNED = {"subagent": {"thread_spawn": {"parent_thread_id": PARENT, "depth": 1}}}


def numbered(*records):
    return [{**record, "ordinal": number} for number, record in enumerate(records)]


def read(*records):
    return feed(CodexParser("stem"), lines(*records)).parsed.events


def inputs(*records):
    return [event.tokens.tokens_in for event in read(*records) if event.tokens is not None]


def prompts(*records):
    return [event.payload["text"] for event in read(*records) if event.payload.get("prompt")]


def recorded(at_s, response, usage):
    return codex("token_usage_record", at_s, response_id=response, usage=usage, turn_token_usage=usage)


def item(at_s, kind, **fields):
    return codex("event_msg", at_s, type="item_completed", item={"type": kind, "id": f"i{at_s}", **fields})


def user(at_s, text):
    return item(at_s, "UserMessage", content=[{"type": "text", "text": text}])


FIRST, SECOND, COMPACTION = counts(100, 60, 20, 5), counts(150, 90, 10, 0), counts(900, 800, 40, 0)
BOTH = counts(250, 150, 30, 5)


def test_a_response_with_a_record_of_its_own_counts_once():
    found = inputs(
        meta(OWN), turn(0),
        recorded(1, "r1", FIRST), token_count(1, FIRST, FIRST),
        recorded(2, "r2", SECOND), token_count(2, BOTH, SECOND),
    )  # fmt: skip

    assert found == [40, 60]


def test_a_total_that_differs_from_its_response_s_record_is_not_counted_beside_it():
    rounded = counts(101, 60, 20, 5)

    assert inputs(meta(OWN), recorded(1, "r1", FIRST), token_count(1, rounded, rounded)) == [40]


def test_a_total_that_comes_before_its_response_s_record_counts_once():
    assert inputs(meta(OWN), token_count(1, FIRST, FIRST), recorded(1, "r1", FIRST)) == [40]


def test_responses_that_used_the_same_tokens_are_both_counted():
    twice = counts(200, 120, 40, 10)

    found = inputs(
        meta(OWN), recorded(1, "r1", FIRST), token_count(1, FIRST, FIRST),
        recorded(2, "r2", FIRST), token_count(2, twice, FIRST),
    )  # fmt: skip

    assert found == [40, 40]


def test_a_compaction_that_only_its_own_record_tells_of_is_counted():
    found = inputs(
        meta(OWN), recorded(1, "r1", FIRST), token_count(1, FIRST, FIRST), recorded(2, "rc", COMPACTION),
        codex("compacted", 2, message="", compaction_response_id="rc", latest_token_usage_record={"usage": COMPACTION}),
        token_count(2, FIRST, counts(0, 0, 0, 0)),
        recorded(3, "r2", SECOND), token_count(3, BOTH, SECOND),
    )  # fmt: skip

    assert found == [40, 100, 60]


def test_a_file_that_a_newer_build_went_on_with_counts_every_response():
    assert inputs(meta(OWN), token_count(1, FIRST, FIRST), recorded(2, "r2", SECOND), token_count(2, BOTH, SECOND)) == [
        40,
        60,
    ]


def test_a_response_that_is_recorded_again_counts_once():
    assert inputs(meta(OWN), recorded(1, "r1", FIRST), recorded(2, "r1", FIRST)) == [40]


def test_a_response_s_record_without_usage_is_accepted():
    assert inputs(meta(OWN), codex("token_usage_record", 1, response_id="r1")) == []


@pytest.mark.parametrize("start", [5, "5"])
def test_records_below_the_first_own_number_are_copies_whatever_their_times(start):
    records = numbered(
        meta(OWN, 0, source=SPAWNED, forked_from_id=PARENT, subagent_history_start_ordinal=start),
        meta(PARENT, 1),
        codex("event_msg", 8, type="user_message", message="the parent's prompt"),
        recorded(9, "r0", COMPACTION),
        token_count(20, COMPACTION, COMPACTION),
        codex("event_msg", 20, type="user_message", message="own"),
        recorded(20, "r1", FIRST),
        token_count(20, FIRST, FIRST),
    )

    assert (prompts(*records), inputs(*records)) == ([], [40])
    records[0]["payload"]["source"] = "cli"
    assert (prompts(*records), inputs(*records)) == (["own"], [40])


def test_copies_that_kept_their_first_times_are_dropped():
    records = [
        meta(OWN, 1000, source=SPAWNED),
        meta(PARENT, 1),
        codex("event_msg", 1, type="task_started", turn_id=OLD_TURN),
        codex("event_msg", 2, type="user_message", message="the parent's prompt"),
        token_count(300, COMPACTION, COMPACTION),
        codex("event_msg", 1000.1, type="task_started", turn_id=OWN_TURN),
        token_count(1009, FIRST, FIRST),
    ]

    assert (prompts(*records), inputs(*records)) == ([], [40])


def test_copies_without_their_session_meta_are_dropped():
    records = [
        meta(OWN, 1000, forked_from_id=PARENT),
        codex("event_msg", 1000.1, type="task_started", turn_id=OLD_TURN),
        token_count(1000.2, COMPACTION, COMPACTION),
        codex("event_msg", 1000.3, type="task_started", turn_id=OWN_TURN),
        token_count(1009, FIRST, FIRST),
    ]

    assert inputs(*records) == [40]


def test_a_slow_disk_does_not_end_a_burst_that_names_its_turns():
    records = [
        meta(OWN, 0, forked_from_id=PARENT),
        meta(PARENT, 0.1),
        codex("event_msg", 0.1, type="task_started", turn_id=OLD_TURN),
        token_count(1.5, COMPACTION, COMPACTION),
        codex("event_msg", 1.6, type="task_started", turn_id=OWN_TURN),
        token_count(9, FIRST, FIRST),
    ]

    assert inputs(*records) == [40]


@pytest.mark.parametrize("turn_s", [2.1, 4])
def test_a_total_before_the_first_turn_is_the_parents_however_late_it_is(turn_s: float):
    records = [
        meta(OWN, 0, forked_from_id=PARENT),
        token_count(2, BOTH, SECOND),
        codex("turn_context", turn_s, model="gpt-5.5"),
        token_count(9, counts(350, 210, 50, 10), FIRST),
    ]

    assert inputs(*records) == [40]


def test_the_files_own_session_meta_ends_a_burst():
    records = [meta(OWN, 0), meta(PARENT, 0.1), token_count(0.1, COMPACTION, COMPACTION), meta(OWN, 0.2)]

    assert inputs(*records, token_count(0.3, FIRST, FIRST)) == [40]


def test_a_fork_that_refers_to_its_history_begins_with_its_own_records():
    base = {"thread_id": PARENT, "end_ordinal_exclusive": 40, "end_byte_offset": 9000}
    records = [
        meta(OWN, 0, forked_from_id=PARENT, history_base=base),
        token_count(0, COMPACTION, counts(0, 0, 0, 0)),
        codex("event_msg", 0.1, type="user_message", message="own"),
        token_count(1, counts(1000, 860, 60, 5), FIRST),
    ]

    assert (prompts(*records), inputs(*records)) == (["own"], [40])


def test_a_session_meta_that_only_names_the_session_names_the_file():
    parser = feed(CodexParser("stem"), lines(codex("session_meta", 0, session_id="s1", cwd="/repo")))

    assert parser.session_id == "s1"


def test_prompts_are_found_in_items_where_no_event_tells_them():
    assert prompts(meta(OWN, history_mode="paginated"), user(1, "fix it"), user(2, "fix it")) == ["fix it", "fix it"]


def test_a_prompt_that_stands_as_event_and_as_item_counts_once():
    event = codex("event_msg", 1, type="user_message", message="fix it")

    assert prompts(meta(OWN), event, user(1, "fix it"), user(2, "again"), {**event}) == ["fix it", "again", "fix it"]


@pytest.mark.parametrize(
    ("ended", "failed"),
    [
        ({"status": "failed", "exit_code": 2}, True),
        ({"status": "completed", "exit_code": 0}, False),
        ({"status": "declined"}, True),
        ({"status": "in_progress"}, None),
    ],
)
def test_an_item_tells_the_outcome_of_its_call(ended, failed):
    found = read(
        meta(OWN),
        codex("response_item", 1, type="function_call", name="exec_command", call_id="c1", arguments="{}"),
        codex("event_msg", 2, type="item_completed", item={"type": "CommandExecution", "id": "c1", **ended}),
        codex("response_item", 3, type="function_call_output", call_id="c1", output="text"),
    )

    [result] = [event for event in found if event.kind is Kind.TOOL_RESULT]
    assert result.payload["is_error"] is failed


def test_kinds_that_no_known_build_writes_are_counted():
    parser = feed(
        CodexParser("s"),
        lines(
            meta(OWN),
            codex("brand_new", 1),
            codex("event_msg", 1, type="brand_new"),
            codex("event_msg", 1, type="brand_new"),
            codex("response_item", 1, type="brand_new"),
            codex("world_state", 1, full=True),
            codex("event_msg", 1, type="task_complete"),
            codex("response_item", 1, type="reasoning"),
        ),
    )

    assert parser.unknown_kinds == {"brand_new": 1, "event_msg/brand_new": 2, "response_item/brand_new": 1}
    assert parser.parsed.rejects == []


def test_a_thread_that_goes_on_in_another_file_is_one_session(tmp_path):
    base = {"thread_id": OWN, "end_ordinal_exclusive": 2, "end_byte_offset": 300}
    segment = "019fa200-577c-7d90-9f1c-a447ba2254b4"
    codex_file(tmp_path, f"2026-01-01T00-00-00-{OWN}", lines(meta(OWN), turn(0), recorded(1, "r1", COMPACTION)))
    codex_file(
        tmp_path,
        f"2026-01-01T00-00-09-{OWN}_{segment}",
        lines(meta(OWN, 9, history_base=base), turn(9), recorded(10, "r2", FIRST)),
    )

    with Store.open(tmp_path / "s.db", create=True) as store:
        summary = run_ingest(store, [tmp_path], agents=[Agent.CODEX]).agents[Agent.CODEX]
        names = [name for (name,) in store.native("select id from sessions order by id")]

    assert (summary.tokens["tokens_in"], summary.responses) == (140, 2)
    assert (names, summary.sessions) == ([OWN], 1)


def speeds(*records):
    return [event.payload.get("speed") for event in read(*records) if event.tokens is not None]


def tier(at_s, value):
    return codex("event_msg", at_s, type="thread_settings_applied", thread_settings={"service_tier": value})


def test_a_response_has_the_service_tier_that_its_thread_was_set_to():
    one, two, three, four = (counts(100 * n, 0, 10 * n, 0) for n in range(1, 5))
    last = counts(100, 0, 10, 0)

    found = speeds(
        meta(OWN), turn(0), token_count(1, one, last),
        tier(2, "priority"), token_count(2, two, last),
        tier(3, "default"), token_count(3, three, last),
        turn(4, service_tier="flex"), token_count(4, four, last),
    )  # fmt: skip

    assert found == [None, "priority", None, "flex"]


def test_a_response_that_tells_its_own_service_tier_has_that_one():
    own = recorded(1, "r1", FIRST)
    own["payload"]["service_tier"] = "fast"
    total = token_count(2, BOTH, SECOND)
    total["payload"]["service_tier"] = "default"

    found = speeds(meta(OWN), turn(0), tier(0, "priority"), own, token_count(1, FIRST, FIRST), total)

    assert found == ["fast", None]
