"""Cursor: transcripts without ids, clocks or tokens, and the conversations of its database."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ingest_lines import feed, lines

from kaizen_analytics.ingest.cursor import Composer, CursorParser
from kaizen_analytics.ingest.records import Kind, Malformed

FILE_MS = 1_788_000_000_000
ASKED = "<timestamp>Saturday, Aug 29, 2026, 1:20 PM (UTC+2)</timestamp>\n<user_query>\nfix the bug\n</user_query>"


def said(role, *blocks):
    return {"role": role, "message": {"content": list(blocks)}}


def text(value):
    return {"type": "text", "text": value}


def tool(name, given):
    return {"type": "tool_use", "name": name, "input": given}


def read(*records, **more):
    parser = feed(CursorParser("c1", file_ms=FILE_MS, **more), lines(*records))
    parser.finish()
    return parser.parsed.events


def test_the_timestamp_tag_is_the_clock():
    first, second = read(said("user", text(ASKED)), said("assistant", text("ok")))

    told = datetime(2026, 8, 29, 11, 20, tzinfo=UTC)
    assert first.ts_ms == second.ts_ms == told.timestamp() * 1000
    assert first.ts_exact
    assert first.payload["text"] == "fix the bug"


@pytest.mark.parametrize(
    ("clock", "exact"),
    [
        ("Saturday, Aug 29, 2026, 13:20 (UTC+2)", True),
        ("Saturday, Aug 29, 2026, 1:20 pm (GMT+2)", True),
        ("Saturday, August 29, 2026 at 11:20 AM", False),
        ("Saturday, 29 Aug 2026, 13:20:00 (UTC+2)", True),
        ("29 August 2026 at 1:20 PM (UTC+02:00)", True),
        ("Saturday, Aug. 29, 2026, 7:50 AM (UTC\u22123:30)", True),
        ("2026-08-29T13:20:00+02:00", True),
        ("2026-08-29 11:20:00", False),
    ],
)
def test_a_clock_is_read_in_every_spelling_and_without_a_zone_is_inexact(clock, exact):
    [found] = read(said("user", text(f"<timestamp>{clock}</timestamp>\n<user_query>x</user_query>")))

    assert (found.ts_ms, found.ts_exact) == (1_788_002_400_000, exact)


def test_without_a_tag_the_time_of_the_file_stands_in_and_is_marked():
    [found] = read(said("user", text("<user_query>x</user_query>")))

    assert (found.ts_ms, found.ts_exact) == (FILE_MS, False)


def test_a_line_may_call_several_tools():
    found = read(said("assistant", text("on it"), tool("Read", {"path": "/p/a.py"}), tool("Shell", {"command": "ls"})))

    assert [event.tool for event in found if event.kind is Kind.TOOL_CALL] == ["Read", "Shell"]
    assert found[1].paths == ("/p/a.py",)


def test_a_patch_is_a_text():
    [_, called] = read(
        said("assistant", tool("ApplyPatch", "*** Begin Patch\n*** Update File: /p/a.py\n*** End Patch"))
    )

    assert called.paths == ("/p/a.py",)


def test_tokens_and_models_are_none_never_zero():
    found = read(said("user", text(ASKED)), said("assistant", text("ok")))

    assert [event.tokens for event in found] == [None, None]
    assert [event.model for event in found] == [None, None]


def test_only_a_failed_turn_is_an_error():
    found = read({"type": "turn_ended", "status": "success"}, {"type": "turn_ended", "status": "error"})

    assert [event.kind for event in found] == [Kind.ERROR]


def test_a_childs_task_is_not_a_human_prompt():
    assert read(said("user", text(ASKED)), parent="p1") == []


@pytest.mark.parametrize(
    ("slug", "path"),
    [
        ("home-me-my-app", "/home/me/my-app/src/a.py"),
        ("wsl-localhost-Ubuntu-home-me-my-app", "/home/me/my-app/src/a.py"),
        ("wsl-localhost-Ubuntu-home-me-my-app", "\\\\wsl.localhost\\Ubuntu\\home\\me\\my-app\\a.py"),
    ],
)
def test_the_workspace_shows_in_the_paths_that_tools_were_given(slug, path):
    found = read(said("assistant", tool("Read", {"path": path})), slug=slug)

    assert {event.place.cwd for event in found} == {"/home/me/my-app"}


def test_a_workspace_without_paths_keeps_cursors_own_name():
    assert read(said("assistant", text("hi")), slug="home-me-my-app")[0].place.cwd == "home-me-my-app"


def composer(**more):
    return {"composerId": "c1", "createdAt": 1_700_000_000_000, "lastUpdatedAt": 1_700_000_600_000, **more}


def test_a_conversation_of_an_older_database_lies_inside_its_composer():
    found = Composer(
        composer(conversation=[{"type": 1, "text": "hello"}, {"type": 2, "text": "hi", "tokenCount": {}}]),
        {},
        file_ms=FILE_MS,
        workspace="/w",
    ).parsed.events

    assert [(event.payload["role"], event.tokens) for event in found] == [("user", None), ("assistant", None)]
    assert found[-1].ts_ms - found[0].ts_ms == 600_000


def test_a_newer_database_keeps_bubbles_apart_and_mostly_counts_zero_tokens():
    call = {"name": "read_file", "toolCallId": "t", "rawArgs": '{"target_file": "/w/a"}', "status": "error"}
    bubbles = {
        "b1": {"type": 1, "text": "hello"},
        "b2": {"type": 2, "text": "hi", "tokenCount": {"inputTokens": 0, "outputTokens": 0}, "toolFormerData": call},
        "b3": {"type": 2, "text": "so", "tokenCount": {"inputTokens": 7, "outputTokens": 2}},
    }
    heads = [{"bubbleId": name} for name in bubbles]

    found = Composer(
        composer(fullConversationHeadersOnly=heads), bubbles, file_ms=FILE_MS, workspace=None
    ).parsed.events

    assert [event.tokens and event.tokens.tokens_in for event in found] == [None, None, None, None, 7]
    assert [event.payload["is_error"] for event in found if event.kind is Kind.TOOL_RESULT] == [True]


def test_a_bubble_stands_at_its_own_time_or_at_that_of_the_one_before():
    bubbles = {
        "b1": {"type": 1, "text": "hello", "createdAt": "2026-08-29T11:20:00Z"},
        "b2": {"type": 2, "text": "hi"},
        "b3": {"type": 2, "text": "so", "createdAt": "2026-08-29T11:21:00Z"},
    }
    told = composer(fullConversationHeadersOnly=[{"bubbleId": name} for name in bubbles], lastUpdatedAt=FILE_MS * 2)

    found = Composer(told, bubbles, file_ms=FILE_MS, workspace=None).parsed.events

    assert [(event.ts_ms - 1_788_002_400_000, event.ts_exact) for event in found] == [
        (0, True),
        (0, False),
        (60_000, True),
    ]


@pytest.mark.parametrize(
    ("told", "bubble", "n_prompts"),
    [
        ({}, {"text": "hello"}, 1),
        ({}, {"text": ""}, 0),
        ({}, {"text": "", "images": [{}]}, 1),
        ({"subagentInfo": {"parentComposerId": "p"}}, {"text": "hello"}, 0),
        ({"isBestOfNSubcomposer": True}, {"text": "hello"}, 0),
    ],
)
def test_prompts_of_a_database_are_what_a_person_sent(told, bubble, n_prompts):
    made = Composer(composer(conversation=[{"type": 1} | bubble], **told), {}, file_ms=FILE_MS, workspace=None)

    assert len(made.parsed.events) == n_prompts
    assert made.parent_session_id == ("p" if "subagentInfo" in told else None)


def test_a_composer_without_an_id_is_malformed():
    with pytest.raises(Malformed):
        Composer({"conversation": []}, {}, file_ms=FILE_MS, workspace=None)


@pytest.mark.parametrize("role", ["user", "assistant", "tool"])
def test_results_are_counted_where_a_build_writes_them(role):
    block = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "no"}

    [found] = read(said(role, block))

    assert (found.kind, found.tool_call_id, found.payload["is_error"]) == (Kind.TOOL_RESULT, "t1", True)


def test_kinds_and_roles_that_no_known_build_writes_are_counted():
    parser = feed(CursorParser("c", file_ms=0), lines({"type": "brand_new"}, said("system"), {"type": "turn_ended"}))

    assert parser.unknown_kinds == {"brand_new": 1, "role/system": 1}
