"""Claude Code: each pitfall of the format, on a transcript small enough to count by hand."""

from __future__ import annotations

import pytest
from ingest_lines import answer, call, envelope, feed, iso, lines, prompt, result, usage

from kaizen_analytics.ingest.claude_code import ClaudeCodeParser
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.records import Kind, Reason, RecordStanding
from kaizen_analytics.ingest.rows import event_row


def events(*records, stem="s1"):
    return feed(ClaudeCodeParser(stem), lines(*records)).parsed.events


def responses(*records, stem="s1"):
    return [event for event in events(*records, stem=stem) if event.tokens is not None]


def test_a_response_over_several_lines_counts_once_with_its_largest_usage():
    found = responses(
        answer("a", 1, "m1", {"type": "thinking", "thinking": ""}, tokens=usage(output=1), stop=None),
        answer("b", 2, "m1", {"type": "text", "text": "hello"}, tokens=usage(output=1), stop=None),
        answer("c", 3, "m1", call("t1"), tokens=usage(output=42), stop="tool_use"),
    )

    assert [event.tokens[:4] for event in found] == [(10, 20, 100, 42)]
    assert found[0].stop_reason == "tool_use"
    assert found[0].payload["text"] == "hello"


def test_lines_of_one_response_need_not_be_adjacent():
    found = responses(answer("a", 1, "m1"), answer("b", 2, "m2"), answer("c", 3, "m1", tokens=usage(output=9)))

    assert [event.tokens.tokens_out for event in found] == [9, 5]


def test_responses_without_a_request_id_are_told_apart_by_message_id():
    assert len(responses(answer("a", 1, "m1"), answer("b", 2, "m2"))) == 2


def test_a_response_whose_stop_reason_never_came_is_flagged():
    unfinished, finished = responses(answer("a", 1, "m1", stop=None), answer("b", 2, "m2", stop="end_turn"))

    assert unfinished.payload["unreliable"] is True
    assert "unreliable" not in finished.payload


def test_thinking_tokens_are_taken_out_of_the_output():
    tokens = usage(output=50) | {"output_tokens_details": {"thinking_tokens": 30}}

    [found] = responses(answer("a", 1, "m1", tokens=tokens))

    assert (found.tokens.tokens_out, found.tokens.reasoning) == (20, 30)


def test_reasoning_is_none_where_the_source_is_silent():
    [found] = responses(answer("a", 1, "m1"))

    assert found.tokens.reasoning is None


def test_cache_writes_are_split_by_their_life():
    [found] = responses(answer("a", 1, "m1", tokens=usage(written=20, hour=15)))

    assert (found.tokens.cache_creation, found.tokens.cache_write_1h) == (20, 15)


def test_synthetic_messages_have_no_tokens_and_no_model():
    [found] = responses(answer("a", 1, "m1", model="<synthetic>", tokens=usage(0, 0, 0, 0)))

    assert found.model is None
    assert found.tokens.weight == (0, 0)


def test_an_api_error_is_an_error_event():
    found = events(answer("a", 1, "m1", model="<synthetic>", isApiErrorMessage=True, error="rate_limit"))

    assert [event.payload["error"] for event in found if event.kind is Kind.ERROR] == ["rate_limit"]


def test_advisor_tokens_are_a_response_of_their_own():
    advice = {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 7, "output_tokens": 3}
    tokens = usage() | {"iterations": [{"type": "message", **usage()}, advice]}

    found = responses(answer("a", 1, "m1", tokens=tokens), answer("b", 2, "m1", tokens=tokens))

    assert [(event.model, event.tokens.tokens_in) for event in found] == [
        ("claude-sonnet-4-5-20250929", 10),
        ("claude-opus-4-8", 7),
    ]


def test_usage_that_progress_and_task_results_repeat_is_not_counted():
    child = answer("x", 2, "m9", tokens=usage(output=999))
    progress = envelope("progress", "p", 2, data={"type": "agent_progress", "message": child})
    task = result("r", 3, "t1") | {"toolUseResult": {"usage": usage(output=999), "agentId": "a1"}}

    found = responses(answer("a", 1, "m1", call("t1", "Task")), progress, task)

    assert [event.tokens.tokens_out for event in found] == [5]


def test_glued_lines_are_both_read():
    glued = lines(answer("a", 1, "m1")).rstrip(b"\n") + lines(answer("b", 2, "m2"))

    parsed = feed(ClaudeCodeParser("s1"), glued).parsed

    assert len(parsed.events) == 2
    assert (parsed.n_lines, parsed.rejects) == (1, [])


def test_a_glued_line_with_a_broken_rest_keeps_its_first_part_and_is_counted():
    parsed = feed(ClaudeCodeParser("s1"), lines(answer("a", 1, "m1")).rstrip(b"\n") + b'{"type": "us\n').parsed

    assert len(parsed.events) == 1
    assert [reject.reason for reject in parsed.rejects] == [Reason.GLUED_REST]


def test_two_session_ids_in_one_file_stay_one_session():
    parser = feed(ClaudeCodeParser("s1"), lines(prompt("a", 1, session="s1"), prompt("b", 2, session="old")))

    assert parser.session_id == "s1"
    assert [event.standing for event in parser.parsed.events] == [RecordStanding.WROTE, RecordStanding.UNKNOWN]


def test_a_record_names_the_session_that_it_was_first_written_to():
    renamed = prompt("a", 1, session="fork") | {"session_id": "first"}
    pointed = prompt("b", 1, session="fork") | {"forkedFrom": {"sessionId": "first", "messageUuid": "b"}}

    assert [event.standing for event in events(renamed, pointed, stem="fork")] == [RecordStanding.UNKNOWN] * 2


def test_times_that_go_backward_keep_file_order():
    found = events(prompt("a", 5), prompt("b", 3))

    assert [event.ts_ms for event in found] == sorted((event.ts_ms for event in found), reverse=True)


def test_a_repeated_record_counts_once():
    link = {
        "type": "pr-link",
        "prUrl": "https://forge.example/team/app/pull/7",
        "timestamp": prompt("a", 2)["timestamp"],
    }

    assert len(events(prompt("a", 1), link, prompt("a", 1), link)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "[Request interrupted by user]",
        "<command-name>/exit</command-name>",
        "<command-message>x</command-message>",
        "<local-command-stdout></local-command-stdout>",
        "<bash-input>ls</bash-input>",
        "<bash-notification>",
        "<task-notification>",
        "<system-reminder>",
        "<teammate-message>",
        "<ci-monitor-event>",
        '<cross-session-message from="x">',
        "<scheduled-task>",
        "<<autonomous-loop>>",
        "[SYSTEM NOTIFICATION] x",
        "Stop hook feedback:\n- run the tests",
        "",
        "  ",
        "\n<command-name>/exit</command-name>",
        "<user-memory-input>always</user-memory-input>",
        "<user-prompt-submit-hook>x</user-prompt-submit-hook>",
        '<agent-message from="x">',
        "<ide_opened_file>a.py</ide_opened_file>",
        "<system-reminder>x</system-reminder>\n<ide_selection>y</ide_selection>",
        "This session is being continued from a previous conversation that ran out of context.",
        "Caveat: The messages below were generated by the user while running local commands.",
    ],
)
def test_what_the_program_wrote_is_not_a_prompt(text):
    assert not any(event.payload.get("prompt") for event in events(prompt("a", 1, text)))


IMAGE = {"type": "image", "source": {"type": "base64", "data": ""}}
IDE = {"type": "text", "text": "<ide_opened_file>a.py</ide_opened_file>"}


@pytest.mark.parametrize(
    "content",
    [
        [IDE, {"type": "text", "text": "mend it"}],
        [IDE, IMAGE],
        [IMAGE],
        [{"type": "document", "source": {}}],
        [{"type": "text", "text": "<system-reminder>x</system-reminder>"}, {"type": "text", "text": "mend it"}],
        "<system-reminder>\nx\n</system-reminder>\nmend it",
        "<div>why?</div>",
    ],
)
def test_what_the_program_puts_beside_a_prompt_does_not_hide_it(content):
    queued = envelope("attachment", "b", 2, attachment={"type": "queued_command", "prompt": content})

    assert [event.payload["prompt"] for event in events(prompt("a", 1, content), queued)] == [True, True]


@pytest.mark.parametrize(
    "flag", ["isMeta", "isCompactSummary", "isSidechain", "isVisibleInTranscriptOnly", "isVirtual", "textNotTyped"]
)
def test_flagged_user_records_are_not_prompts(flag):
    assert events(prompt("a", 1) | {flag: True}) == []


@pytest.mark.parametrize("flag", ["isMeta", "carriedByCompaction"])
def test_flagged_queued_texts_are_not_prompts(flag):
    queued = {"type": "queued_command", "prompt": "go on", flag: True}

    assert events(envelope("attachment", "q", 1, attachment=queued)) == []


def test_nobody_types_into_a_sub_agent_whose_records_are_not_flagged():
    parser = feed(ClaudeCodeParser("agent-a1"), lines(prompt("a", 1, agentId="a1")))

    assert (parser.parsed.events, parser.parent_session_id) == ([], "s1")


def test_a_record_without_a_folder_happens_where_the_one_before_did():
    link = {"type": "pr-link", "sessionId": "s1", "timestamp": iso(2), "prUrl": "https://forge.example/pull/1"}

    assert {event.place.cwd for event in events(prompt("a", 1), link)} == {"/repo/demo"}


def test_an_id_of_anthropics_form_that_a_gateway_repeats_is_told_apart_by_its_requests():
    found = [
        answer(f"{uuid}{n}", 10 * n + at, "msg_01abcdefghijklmnopq", tokens=usage(output=at), requestId=f"r{n}")
        for n in range(3)
        for uuid, at in (("a", 1), ("b", 2))
    ]

    assert [event.tokens.tokens_out for event in responses(*found)] == [2, 2, 2]
    assert len({event.key for event in responses(*found)}) == 3


@pytest.mark.parametrize("tier", ["priority", "batch"])
def test_a_service_tier_is_a_speed(tier):
    [found] = responses(answer("a", 1, "m1", tokens=usage() | {"service_tier": tier, "speed": "standard"}))

    assert found.payload["speed"] == tier


@pytest.mark.parametrize(("kind", "n_prompts"), [("human", 1), ("peer", 0), ("cron", 0), ("task-notification", 0)])
def test_a_record_that_says_where_it_came_from_is_a_prompt_only_from_a_person(kind, n_prompts):
    queued = {"type": "queued_command", "prompt": "also", "commandMode": "prompt", "origin": {"kind": kind}}

    found = events(prompt("a", 1, origin={"kind": kind}), envelope("attachment", "q", 2, attachment=queued))

    assert sum(bool(event.payload.get("prompt")) for event in found) == 2 * n_prompts


@pytest.mark.parametrize("content", ["fix it", [{"type": "text", "text": "<b>fix</b> it"}], [{"type": "image"}]])
def test_what_a_person_typed_is_a_prompt(content):
    [found] = events(prompt("a", 1, content))

    assert found.payload["prompt"] is True
    assert found.payload["role"] == "user"


def test_a_prompt_typed_while_busy_is_found_in_its_attachment():
    typed = envelope("attachment", "q", 1, attachment={"type": "queued_command", "prompt": "also this"})
    notice = envelope("attachment", "n", 2, attachment={"type": "queued_command", "prompt": "<task-notification>x"})

    assert [event.payload["text"] for event in events(typed, notice)] == ["also this"]


def test_an_interruption_is_an_error():
    [found] = events(prompt("a", 1, "[Request interrupted by user for tool use]"))

    assert (found.kind, found.payload["error"]) == (Kind.ERROR, "interrupted")


def test_tool_results_fail_only_where_they_say_so():
    found = events(
        answer("a", 1, "m1", call("t1"), call("t2", "Bash", command="false"), call("t3")),
        result("b", 2, "t1"),
        result("c", 3, "t2", "Exit code 3\nboom", is_error=True),
        result("d", 4, "t3", [{"type": "text", "text": "ok"}], is_error=False),
    )
    results = [event for event in found if event.kind is Kind.TOOL_RESULT]

    assert [event.payload["is_error"] for event in results] == [False, True, False]
    assert [event.tool for event in results] == ["Read", "Bash", "Read"]
    assert results[1].payload["exit_code"] == 3


def test_a_rejected_edit_is_told_from_a_failed_one():
    refusal = "The user doesn't want to proceed with this tool use. The tool use was rejected."

    [found] = events(result("a", 1, "t1", refusal, is_error=True))

    assert found.payload["rejected"] is True


@pytest.mark.parametrize(
    ("name", "given", "paths"),
    [
        ("Read", {"file_path": "/a.py"}, ("/a.py",)),
        ("NotebookEdit", {"notebook_path": "/n.ipynb"}, ("/n.ipynb",)),
        ("Grep", {"path": "/src", "pattern": "x"}, ()),
        ("Bash", {"command": "cat /a.py"}, ()),
    ],
)
def test_files_come_from_the_inputs_that_name_one(name, given, paths):
    call_event = events(answer("a", 1, "m1", call("t1", name, **given)))[1]

    assert call_event.paths == paths
    expected = next((value for key, value in given.items() if "path" in key), None)
    assert call_event.payload["input"].get("path") == expected


def test_skills_and_rules_are_found_where_they_are_used():
    found = events(
        answer("a", 1, "m1", call("t1", "Skill", skill="review"), attributionSkill="plan"),
        prompt("b", 2, "Base directory for this skill: /h/.claude/skills/deploy\n\nrest") | {"isMeta": True},
        envelope("attachment", "c", 3, attachment={"type": "nested_memory", "path": "/repo/demo/CLAUDE.md"}),
    )

    assert {skill for event in found for skill in event.skills} == {"review", "plan", "deploy"}
    assert {rule for event in found for rule in event.rules} == {"/repo/demo/CLAUDE.md"}


def test_compactions_mode_changes_and_hooks_are_events():
    facts = {"trigger": "auto", "preTokens": 9}
    found = events(
        prompt("a", 1, permissionMode="default"),
        prompt("b", 2, permissionMode="plan"),
        envelope("system", "c", 3, subtype="compact_boundary", compactMetadata=facts),
        envelope("system", "d", 4, subtype="stop_hook_summary", hookCount=2, hookErrors=["x"]),
    )

    assert [event.payload.get("event") for event in found if event.kind is Kind.LIFECYCLE] == ["mode", "compaction"]
    assert [event.payload["errors"] for event in found if event.kind is Kind.HOOK] == [1]


def test_a_sub_agent_names_its_parent():
    parser = feed(ClaudeCodeParser("agent-a1"), lines(prompt("a", 1, session="parent") | {"isSidechain": True}))

    assert (parser.session_id, parser.parent_session_id) == ("agent-a1", "parent")


def test_lines_of_no_interest_are_accepted():
    parsed = feed(
        ClaudeCodeParser("s1"), lines({"type": "summary", "summary": "x"}, {"type": "file-history-snapshot"})
    ).parsed

    assert (parsed.n_lines, parsed.rejects, parsed.events) == (2, [], [])


def test_the_speed_that_a_response_was_bought_at_is_kept_unless_it_is_the_standard_one():
    fast, standard = responses(
        answer("a", 1, "m1", tokens=usage() | {"speed": "fast"}),
        answer("b", 2, "m2", tokens=usage() | {"speed": "standard"}),
    )

    assert fast.payload["speed"] == "fast"
    assert "speed" not in standard.payload


def test_an_attempt_that_another_model_took_over_is_a_response_of_its_own():
    attempts = [
        {"type": "message", "model": "claude-opus-4-8", "input_tokens": 7, "output_tokens": 2},
        {"type": "fallback_message", "model": "claude-sonnet-4-5-20250929", "input_tokens": 10, "output_tokens": 5},
    ]

    served, declined = responses(answer("a", 1, "m1", tokens=usage() | {"iterations": attempts}))

    assert served.tokens.tokens_in == 10
    assert (declined.model, declined.tokens[0], declined.tokens[3]) == ("claude-opus-4-8", 7, 2)
    assert declined.payload["attempt"] is True


def test_a_compaction_inside_a_response_is_a_response_of_its_own():
    inner = [{"type": "compaction", "input_tokens": 900, "output_tokens": 30}, {"type": "message", "input_tokens": 10}]

    _, compaction = responses(answer("a", 1, "m1", tokens=usage() | {"iterations": inner}))

    assert (compaction.model, compaction.tokens[0]) == ("claude-sonnet-4-5-20250929", 900)


def test_iterations_without_another_model_are_in_the_totals():
    inner = [{"type": "message", "input_tokens": 5}, {"type": "message", "input_tokens": 5}]

    assert len(responses(answer("a", 1, "m1", tokens=usage() | {"iterations": inner}))) == 1


@pytest.mark.parametrize(
    "told", [usage() | {"input_tokens": -1}, usage() | {"input_tokens": 2**70}, {"output_tokens": "5"}, ["5"], "5"]
)
def test_calls_beside_a_usage_that_cannot_be_read_are_kept_and_the_line_is_counted(told):
    parsed = feed(ClaudeCodeParser("s1"), lines(answer("a1", 1, "m1", call("toolu_1"), tokens=told))).parsed

    assert [event.kind for event in parsed.events] == [Kind.MESSAGE, Kind.TOOL_CALL]
    assert parsed.events[0].tokens is None
    assert len(parsed.rejects) == 1


def test_cache_writes_that_are_told_by_life_alone_are_counted():
    told = {"input_tokens": 1, "output_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 30}}
    [found] = events(answer("a1", 1, "m1", tokens=told))

    assert (found.tokens.cache_creation, found.tokens.cache_write_1h) == (30, 30)


def test_whole_numbers_that_a_gateway_writes_as_floats_are_read():
    [found] = events(answer("a1", 1, "m1", tokens=usage() | {"input_tokens": 12.0}))

    assert found.tokens.tokens_in == 12


def test_a_record_without_a_time_has_that_of_the_one_before_it():
    late = answer("a2", 2, "m2")
    del late["timestamp"]

    found = events(answer("a1", 1, "m1"), late)

    assert found[0].ts_ms == found[1].ts_ms
    assert [event.ts_exact for event in found] == [True, False]


def test_call_ids_that_other_models_number_anew_tell_calls_apart_within_a_response_only():
    found = events(
        answer("a1", 1, "m1", call("functions.Bash:0")),
        answer("a2", 2, "m1", call("functions.Bash:0")),
        answer("a3", 3, "m2", call("functions.Bash:0")),
    )

    assert [event.kind for event in found].count(Kind.TOOL_CALL) == 2


def test_kinds_that_no_known_build_writes_are_counted():
    parser = feed(ClaudeCodeParser("s1"), lines({"type": "brand-new"}, {"type": "brand-new"}, {"type": "cost-state"}))

    assert parser.unknown_kinds == {"brand-new": 2}


ATTEMPT = {"type": "message", "model": "claude-opus-4-8", "input_tokens": 10, "output_tokens": 2}
SERVED = {"type": "fallback_message", "model": "claude-sonnet-4-5-20250929", "input_tokens": 10, "output_tokens": 5}
FALLBACK = {"type": "fallback", "from": "claude-opus-4-8"}


@pytest.mark.parametrize(
    ("blocks", "refused"),
    [
        ([{"type": "text", "text": "x"}], True),
        ([FALLBACK, {"type": "text", "text": "x"}], True),
        ([{"type": "thinking", "thinking": "x"}, FALLBACK], False),
        ([{"type": "text", "text": "x"}, FALLBACK, {"type": "text", "text": "y"}], False),
    ],
)
@pytest.mark.parametrize("one_line", [True, False])
def test_an_attempt_that_was_refused_before_any_output_costs_nothing(blocks, refused, one_line):
    told = usage() | {"iterations": [ATTEMPT, SERVED]}
    parts = [blocks] if one_line else [[block] for block in blocks]
    records = [answer(f"a{n}", n, "msg_01abcdefghijklmnopq", *part, tokens=told) for n, part in enumerate(parts)]

    [attempt] = [event for event in events(*records) if event.payload.get("attempt")]

    assert attempt.payload.get("refused", False) == refused
    cost = int(event_row("s", 0, attempt, PriceList())[8])
    assert cost == 0 if refused else cost > 0


@pytest.mark.parametrize(
    ("told", "exact"),
    [("2026-09-01T10:00:00", False), ("1970-01-01T00:00:00.000Z", True), ("2026-09-01T19:00:00+09:00", True)],
)
def test_odd_clocks_are_kept_and_times_without_a_zone_are_inexact(told, exact):
    parser = feed(ClaudeCodeParser("s1"), lines(prompt("a", 1) | {"timestamp": told}))

    assert parser.parsed.rejects == []
    assert [event.ts_exact for event in parser.parsed.events] == [exact]
