"""No bytes raise: every line is accepted or rejected with a reason, whatever it holds."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest_lines import (
    START_MS,
    answer,
    call,
    codex,
    counts,
    envelope,
    feed,
    line,
    lines,
    meta,
    prompt,
    result,
    token_count,
    turn,
    usage,
)

from kaizen_analytics.ingest import claude_code, cursor
from kaizen_analytics.ingest import codex as codex_module
from kaizen_analytics.ingest.gitref import Places
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.records import MAX_INTEGER, Reason, decode, moment_or_fault
from kaizen_analytics.ingest.rows import count_rows, event_row

PARSERS = {
    "claude_code": lambda: claude_code.ClaudeCodeParser("s1"),
    "codex": lambda: codex_module.CodexParser("s1"),
    "cursor": lambda: cursor.CursorParser("s1", file_ms=0),
}
ADVICE = {"type": "advisor_message", "model": "m", "input_tokens": 1}
SAMPLES = [
    ("claude_code", prompt("a", 1, permissionMode="plan", forkedFrom={"sessionId": "x"})),
    ("claude_code", answer("a", 1, "m1", call("t1", file_path="/a"), tokens=usage() | {"iterations": [ADVICE]})),
    ("claude_code", result("a", 1, "t1", [{"type": "text", "text": "x"}]) | {"toolUseResult": {"file": {}}}),
    ("claude_code", envelope("system", "a", 1, subtype="compact_boundary", compactMetadata={"preTokens": 1})),
    ("claude_code", envelope("attachment", "a", 1, attachment={"type": "queued_command", "prompt": "x"})),
    ("codex", meta("s", source={"subagent": {"thread_spawn": {"parent_thread_id": "p"}}})),
    ("codex", turn(1, user_instructions="x")),
    ("codex", token_count(1, counts(9, 1, 1, 1), counts(9, 1, 1, 1))),
    (
        "codex",
        codex("response_item", 1, type="function_call", name="shell", call_id="c", arguments='{"command":["ls"]}'),
    ),
    (
        "codex",
        codex("response_item", 1, type="function_call_output", call_id="c", output='{"metadata":{"exit_code":1}}'),
    ),
    ("codex", codex("response_item", 1, type="custom_tool_call", name="exec", call_id="c", input="x")),
    ("codex", codex("token_usage_record", 1, response_id="r", usage=counts(9, 1, 1, 1))),
    ("codex", codex("event_msg", 1, type="item_completed", item={"type": "UserMessage", "content": [{"text": "x"}]})),
    (
        "codex",
        codex("event_msg", 1, type="item_completed", item={"type": "McpToolCall", "id": "c", "status": "failed"}),
    ),
    ("codex", codex("event_msg", 1, type="exec_command_end", call_id="c", exit_code=1)),
    ("codex", codex("event_msg", 1, type="mcp_tool_call_end", call_id="c", result={"Ok": {"isError": True}})),
    ("cursor", {"role": "user", "message": {"content": [{"type": "text", "text": "<user_query>x</user_query>"}]}}),
    (
        "cursor",
        {"role": "assistant", "message": {"content": [{"type": "tool_use", "name": "Read", "input": {"path": "/a"}}]}},
    ),
    ("cursor", {"type": "turn_ended", "status": "error"}),
]

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**63,
        2**64,
        10**400,
        1.5,
        "",
        "\0",
        "\ud800",
        "x",
        "9999-12-31T23:59:59Z",
        [],
        [[]],
        {},
        {"a": []},
    ]
)


def places_in(value, at=()):
    """Yield the path to every value inside a JSON document."""
    yield at
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places_in(item, (*at, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from places_in(item, (*at, index))


def changed(value, at, odd):
    if not at:
        return odd
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = changed(value[at[0]], at[1:], odd)
    return copy


def store_rows(parser):
    """Turn the events into rows as the pipeline does; returns the rows."""
    prices = PriceList()
    parser.finish()
    events = parser.parsed.events
    rows = [event_row("s", seq, event, prices) for seq, event in enumerate(events)]
    tally = count_rows(rows, events)
    assert tally["events"] == len(rows)
    return rows


def check(parser, content):
    parsed = feed(parser, content).parsed
    n_lines = sum(1 for text in content.split(b"\n") if text)
    assert parsed.n_lines == n_lines >= len(parsed.rejects)
    for row in store_rows(parser):
        for cell in row:
            assert cell is None or isinstance(cell, str)
            if isinstance(cell, int):
                assert abs(cell) <= MAX_INTEGER
            elif cell is not None:
                assert "\0" not in cell
                cell.encode()
    Places().workspace_of(next((event.place.cwd for event in parsed.events), None))


@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_a_wrong_type_in_any_field_is_at_most_a_reject(sample, data):
    agent, record = sample
    at = data.draw(st.sampled_from(sorted(places_in(record), key=str)))

    check(PARSERS[agent](), line(changed(record, at, data.draw(ODD))))


@pytest.mark.slow
@given(sample=st.sampled_from(SAMPLES), data=st.data())
def test_mutated_bytes_are_at_most_a_reject(sample, data):
    agent, record = sample
    content = bytearray(line(record))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))

    check(PARSERS[agent](), bytes(content))


@given(agent=st.sampled_from(sorted(PARSERS)), content=st.binary(max_size=200))
def test_any_bytes_are_at_most_a_reject(agent, content):
    check(PARSERS[agent](), content)


@given(
    parts=st.lists(
        st.sampled_from(
            [b"user:", b"assistant:", b"[Tool call] Read", b"  path: /a", b"[Tool result] x", b"[Thinking]"]
        )
        | st.binary(max_size=20).filter(lambda part: b"\n" not in part),
        max_size=12,
    )
)
def test_any_bytes_of_a_text_are_taken(parts):
    parser = cursor.CursorTextParser("s1", file_ms=0)

    check(parser, b"\n".join(parts))

    assert parser.parsed.rejects == []


@pytest.mark.parametrize("agent", sorted(PARSERS))
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"type": "user"', Reason.NOT_JSON),
        (b"[1]", Reason.NOT_AN_OBJECT),
        (b'{"a": "\xff"}', Reason.NOT_UTF8),
        (b'{"a": "\0"}', Reason.NOT_JSON),
        (b'{"a": NaN}', Reason.NOT_JSON),
        (b"[" * 100_000, Reason.TOO_DEEP),
        (b'{"a":' * 100_000, Reason.TOO_DEEP),
    ],
)
def test_each_kind_of_bad_line_has_its_reason(agent, content, reason):
    parsed = feed(PARSERS[agent](), content).parsed

    assert [reject.reason for reject in parsed.rejects] == [reason]


@pytest.mark.parametrize("count", [2**63, 10**30, -1, 1.5])
def test_a_count_that_no_store_can_hold_is_rejected(count):
    parsed = feed(claude_code.ClaudeCodeParser("s1"), line(answer("a", 1, "m1", tokens={"input_tokens": count}))).parsed

    assert [(reject.reason, reject.detail) for reject in parsed.rejects] == [(Reason.BAD_NUMBER, "input_tokens")]


@pytest.mark.parametrize("moment", ["yesterday", "1969-12-31T23:59:59Z", "0001-01-01T00:00Z", "9999-12-31T00:00Z"])
def test_a_time_that_is_none_is_rejected(moment):
    parsed = feed(claude_code.ClaudeCodeParser("s1"), line(prompt("a", 1) | {"timestamp": moment})).parsed

    assert [reject.reason for reject in parsed.rejects] == [Reason.BAD_TIME]


@pytest.mark.parametrize("moment", ["yesterday", "1969-12-31T23:59:59Z", "+010000-01-01T00:00:00.000Z", -5, 1e300, ""])
def test_a_record_whose_time_is_none_is_kept_at_the_time_of_the_one_before(moment):
    claude = lines(prompt("a", 1), answer("b", 2, "m1") | {"timestamp": moment})
    rollout = lines(meta("c1", 1), token_count(2, counts(9, 0, 1, 0), counts(9, 0, 1, 0)) | {"timestamp": moment})
    for parser, content in ((claude_code.ClaudeCodeParser("s1"), claude), (codex_module.CodexParser("c1"), rollout)):
        parsed = feed(parser, content).parsed

        assert (parsed.events[-1].ts_ms, parsed.events[-1].ts_exact) == (START_MS + 1000, False)
        assert [(reject.line, reject.detail) for reject in parsed.rejects] == [(2, "timestamp")]


@pytest.mark.parametrize(
    ("moment", "at_ms"),
    [
        ("2025-12-31T23:59:60Z", START_MS),
        ("2025-12-31t23:59:60.5z", START_MS + 500),
        ("2026-01-01T05:30:00+05:30", START_MS),
        ("2026-01-01T00:00:00.123456789Z", START_MS + 123),
        ("2026-01-01 00:00:00z", START_MS),
        (" 2026-01-01T00:00:00Z\n", START_MS),
        ("2026-01-01T00:00:00 UTC", START_MS),
        *((START_MS * factor // 1000, START_MS) for factor in (1, 1000, 10**6, 10**9)),
        (START_MS / 1000 + 0.25, START_MS + 250),
        (str(START_MS), START_MS),
    ],
)
def test_a_time_is_read_in_every_spelling(moment, at_ms):
    assert moment_or_fault({"timestamp": moment}) == (at_ms, True, None)


def test_a_lone_surrogate_loses_a_character_and_not_the_line():
    [document], reason = decode(b'{"a": "cut \\ud83d"}')

    assert reason is None
    assert document["a"].startswith("cut ")


def test_a_reject_tells_line_and_offset():
    good = line(prompt("a", 1))

    [reject] = feed(claude_code.ClaudeCodeParser("s1"), good + b"nonsense\n" + good).parsed.rejects

    assert (reject.line, reject.offset) == (2, len(good))


WHOLE = line({"type": "summary"}).strip()


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf" + WHOLE, WHOLE + b"\r", b"\0\0\0" + WHOLE, WHOLE + b"\0\0", b"\0" + WHOLE + b"\0\0" + WHOLE],
)
def test_a_byte_order_mark_and_nul_bytes_around_a_document_lose_nothing(content):
    documents, broken = decode(content)

    assert documents in ([{"type": "summary"}], [{"type": "summary"}] * 2)
    assert broken is None


QUOTED = line(prompt("b", 2, 'look: {"type": "user"}, [{"a"')).strip()


@pytest.mark.parametrize("rest", [WHOLE, QUOTED, b"\0" * 300 + WHOLE + QUOTED])
def test_what_is_whole_behind_a_record_that_was_cut_off_is_read(rest):
    """Two writers, or a crash, leave such lines. Only what follows a colon at once is taken for the value."""
    whole, _ = decode(rest)
    for end in range(1, len(QUOTED)):
        cut = QUOTED[:end]
        documents, broken = decode(cut + rest)

        assert documents == ([] if re.search(rb'[^\\]": ?$', cut) and rest[0] else whole)
        assert broken is Reason.NOT_JSON


def test_a_part_of_a_record_that_was_cut_off_is_no_record():
    for end in range(1, len(QUOTED)):
        assert decode(QUOTED[:end]) == ([], Reason.NOT_JSON)
