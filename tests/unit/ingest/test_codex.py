"""Codex: each pitfall of the format, on a rollout small enough to count by hand."""

from __future__ import annotations

import pytest
from ingest_lines import START_MS, codex, counts, feed, lines, meta, token_count, turn

from kaizen_analytics.ingest.codex import CodexParser
from kaizen_analytics.ingest.records import Kind

OWN = "019d7e36-577c-7d90-9f1c-a447ba2254b4"
PARENT = "019d7d08-46c9-7f73-affe-4e6ca9852d56"
OLD_TURN = "019d7d08-f1d2-78a1-ae52-df8e21f9b394"
OWN_TURN = "019d7e36-57aa-7373-b23c-bcf62344db6f"


def events(*records):
    return feed(CodexParser("stem"), lines(*records)).parsed.events


def responses(*records):
    return [event for event in events(*records) if event.tokens is not None]


def function_call(at_s, call_id="c1", name="exec_command", **given):
    import json

    return codex("response_item", at_s, type="function_call", name=name, call_id=call_id, arguments=json.dumps(given))


def output(at_s, text, call_id="c1"):
    return codex("response_item", at_s, type="function_call_output", call_id=call_id, output=text)


def outcome_of(*records):
    found = events(meta("s"), function_call(1), *records)
    return next(event.payload["is_error"] for event in found if event.kind is Kind.TOOL_RESULT)


def test_token_columns_are_disjoint():
    [found] = responses(meta("s"), turn(0), token_count(1, counts(100, 60, 30, 10), counts(100, 60, 30, 10)))

    assert found.tokens[:5] == (40, None, 60, 20, 10)
    assert (found.context_used_tokens, found.context_max_tokens) == (100, 258_400)


def test_a_total_that_is_reported_again_is_not_counted_again():
    first = token_count(1, counts(100, 0, 30, 0), counts(100, 0, 30, 0))
    second = token_count(3, counts(250, 0, 50, 0), counts(150, 0, 20, 0))

    found = responses(meta("s"), first, first, second, second)

    assert [event.tokens.tokens_in for event in found] == [100, 150]


def test_a_counter_that_began_anew_may_come_to_the_same_total():
    before = token_count(1, counts(100, 0, 30, 0), counts(100, 0, 30, 0))
    more = token_count(2, counts(250, 0, 50, 0), counts(150, 0, 20, 0))
    anew = token_count(9, counts(250, 0, 50, 0), counts(250, 0, 50, 0))

    found = responses(meta("s"), turn(0), before, more, turn(8), anew, anew)

    assert [event.tokens.tokens_in for event in found] == [100, 150, 250]


@pytest.mark.parametrize("told", [{"last_token_usage": counts(0, 0, 0, 0)}, {}])
def test_a_total_that_is_reported_without_usage_and_again_is_not_counted_again(told):
    first = token_count(1, counts(100, 0, 30, 0), counts(100, 0, 30, 0))
    bare = codex("event_msg", 2, type="token_count", info={"total_token_usage": counts(100, 0, 30, 0)} | told)

    assert len(responses(meta("s"), turn(0), first, bare, first)) == 1


@pytest.mark.parametrize(
    ("told", "tokens"), [((100, 500, 30, 10), (0, None, 100, 20, 10)), ((100, 60, 30, 90), (40, None, 60, 0, 30))]
)
def test_a_part_that_is_more_than_the_whole_is_cut_and_the_line_counted(told, tokens):
    parsed = feed(CodexParser("s"), lines(meta("s"), turn(0), token_count(1, counts(*told), counts(*told)))).parsed

    assert [event.tokens[:5] for event in parsed.events] == [tokens]
    assert [(reject.line, reject.reason.value) for reject in parsed.rejects] == [(3, "bad_number")]


def test_a_resume_goes_on_in_the_folder_and_on_the_branch_that_it_tells():
    again = meta("s", 5)
    again["payload"] |= {"cwd": "/repo/other", "git": {"branch": "feature"}}
    told = [token_count(at, counts(at, 0, 1, 0), counts(at, 0, 1, 0)) for at in (1, 6)]

    found = responses(meta("s"), turn(0), told[0], again, told[1])

    assert [event.place[:2] for event in found] == [("/repo/demo", "main"), ("/repo/other", "feature")]


def test_a_total_without_usage_after_a_compaction_is_not_counted():
    empty = counts(0, 0, 0, 0) | {"total_tokens": 9000}

    assert responses(meta("s"), token_count(1, counts(100, 0, 3, 0), empty)) == []


def test_a_token_count_without_info_is_accepted():
    parsed = feed(CodexParser("stem"), lines(meta("s"), codex("event_msg", 1, type="token_count", info=None))).parsed

    assert (parsed.n_lines, parsed.rejects, parsed.events) == (2, [], [])


def test_a_total_that_goes_down_does_not_hide_usage():
    found = responses(
        meta("s"),
        token_count(1, counts(500, 0, 50, 0), counts(500, 0, 50, 0)),
        token_count(2, counts(80, 0, 8, 0), counts(80, 0, 8, 0)),
    )

    assert [event.tokens.tokens_in for event in found] == [500, 80]


def test_without_a_last_usage_the_difference_of_totals_counts():
    records = [token_count(at, counts(given, 0, given // 10, 0), {}) for at, given in ((1, 100), (2, 250))]
    for record in records:
        del record["payload"]["info"]["last_token_usage"]

    assert [event.tokens.tokens_in for event in responses(meta("s"), *records)] == [100, 150]


def copied_history():
    return [
        meta(OWN, 0, forked_from_id=PARENT),
        meta(PARENT, 0.001),
        codex("event_msg", 0.001, type="task_started", turn_id=OLD_TURN),
        turn(0.002, model="gpt-5.4"),
        codex("event_msg", 0.002, type="user_message", message="the parent's prompt"),
        token_count(0.003, counts(1000, 0, 100, 0), counts(1000, 0, 100, 0)),
    ]


def test_history_that_a_fork_copies_is_dropped():
    found = events(
        *copied_history(),
        codex("event_msg", 20, type="user_message", message="own"),
        token_count(21, counts(1000, 0, 100, 0), counts(1000, 0, 100, 0)),
        token_count(22, counts(1300, 0, 120, 0), counts(300, 0, 20, 0)),
    )

    assert [event.payload["text"] for event in found if event.payload.get("prompt")] == ["own"]
    assert [event.tokens.tokens_in for event in found if event.tokens] == [300]


def test_copied_history_ends_where_the_forks_own_turn_begins_even_within_a_second():
    found = events(
        *copied_history(),
        codex("event_msg", 0.008, type="task_started", turn_id=OWN_TURN),
        codex("event_msg", 0.2, type="user_message", message="own"),
    )

    assert [event.payload["text"] for event in found] == ["own"]


def test_the_model_of_copied_history_still_holds_after_it():
    own = codex("event_msg", 21, type="user_message", message="go on")
    [found] = responses(*copied_history(), own, token_count(22, counts(1300, 0, 120, 0), counts(300, 0, 20, 0)))

    assert found.model == "gpt-5.4"


def test_a_child_that_restarts_its_counters_counts_from_zero():
    source = {"subagent": {"thread_spawn": {"parent_thread_id": PARENT}}}
    parser = feed(
        CodexParser("stem"),
        lines(meta(OWN, source=source), turn(1), token_count(2, counts(70, 0, 7, 0), counts(70, 0, 7, 0))),
    )

    assert [event.tokens.tokens_in for event in parser.parsed.events] == [70]
    assert (parser.session_id, parser.parent_session_id) == (OWN, PARENT)


def test_a_repeated_session_meta_is_harmless():
    found = events(meta("s"), meta("s", 1), codex("event_msg", 1, type="user_message", message="hi"))

    assert len(found) == 1


def test_a_model_switch_holds_from_its_turn_on():
    found = responses(
        meta("s"),
        turn(1, model="gpt-5.4"),
        token_count(2, counts(10, 0, 1, 0), counts(10, 0, 1, 0)),
        turn(3, model="gpt-5.5"),
        token_count(4, counts(30, 0, 3, 0), counts(20, 0, 2, 0)),
    )

    assert [event.model for event in found] == ["gpt-5.4", "gpt-5.5"]


def test_a_message_that_stands_twice_counts_once():
    said = codex("event_msg", 1, type="agent_message", message="hello")
    again = codex("response_item", 1, type="message", role="assistant", content=[{"type": "output_text", "text": "h"}])
    counted = token_count(2, counts(10, 0, 1, 0), counts(10, 0, 1, 0))

    [found] = events(meta("s"), said, again, counted)

    assert found.payload["text"] == "hello"


def test_prompts_are_what_people_sent():
    context = codex("response_item", 1, type="message", role="user", content=[{"type": "input_text", "text": "AGENTS"}])
    plain = codex("event_msg", 2, type="user_message", message="go", kind="plain")
    early = codex("event_msg", 3, type="user_message", message="<env>", kind="environment_context")
    image = codex("event_msg", 4, type="user_message", message="", images=["data:image/png;base64,"])
    empty = codex("event_msg", 5, type="user_message", message="", images=[], local_images=[])
    found = events(meta("s"), context, plain, early, image, empty)

    assert [event.payload["text"] for event in found] == ["go", ""]


@pytest.mark.parametrize("tag", ["environment_context", "turn_aborted", "user_shell_command", "subagent_notification"])
def test_what_codex_tells_the_model_is_no_prompt(tag):
    assert events(meta("s"), codex("event_msg", 1, type="user_message", message=f"<{tag}>\nx\n</{tag}>")) == []


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ('{"output":"x","metadata":{"exit_code":0}}', False),
        ('{"output":"x","metadata":{"exit_code":2}}', True),
        ("Exit code: 0\nWall time: 1 s\nOutput:\nExit code: 9\n", False),
        ("Exit code: 1\nWall time: 1 s\nOutput:\n", True),
        ("Chunk ID: ab\nWall time: 0 s\nProcess exited with code 0\nOutput:\n", False),
        ("Chunk ID: ab\nWall time: 0 s\nProcess exited with code 127\nOutput:\n", True),
        ("Chunk ID: ab\nWall time: 9 s\nProcess running with session ID 4\nOutput:\n", None),
        ("exec_command failed: no such tool", True),
        ("Script failed\nWall time 1 s", True),
        ("Script completed\nWall time 1 s", False),
        ("aborted by user after 29.7s", True),
        ("exec command rejected by user", True),
        ("apply_patch verification failed: no such line", True),
        ("Plan updated", False),
        ("something else", None),
        ([{"type": "input_text", "text": "Script completed\nWall time 1 s"}], False),
        ({"content": "x", "success": False}, True),
    ],
)
def test_outcomes_are_read_from_outputs_and_unknown_stays_unknown(text, failed):
    assert outcome_of(output(2, text)) is failed


def test_an_outcome_that_is_recorded_apart_wins():
    ended = codex("event_msg", 2, type="exec_command_end", call_id="c1", exit_code=1)
    patched = codex("event_msg", 2, type="patch_apply_end", call_id="c1", success=False)
    tool = codex("event_msg", 2, type="mcp_tool_call_end", call_id="c1", result={"Ok": {"isError": True}})

    for record in (ended, patched, tool):
        assert outcome_of(record, output(3, "something")) is True


def test_an_outcome_that_comes_after_its_output_completes_it():
    running = output(2, "Process running with session ID 4\nOutput:\n")

    assert outcome_of(running, codex("event_msg", 9, type="exec_command_end", call_id="c1", exit_code=0)) is False


def test_patches_of_every_kind_touch_their_files():
    patch = "*** Begin Patch\n*** Update File: a.rs\n@@\n*** Add File: b.rs\n*** Delete File: c.rs\n*** End Patch"
    custom = codex("response_item", 1, type="custom_tool_call", name="apply_patch", call_id="c1", input=patch)
    shell = function_call(2, "c2", "shell", command=["apply_patch", patch])
    script = codex("response_item", 3, type="custom_tool_call", name="exec", call_id="c3", input=f"run(`{patch}`)")

    quoted = function_call(4, "c4", "exec_command", cmd=f"cd src && apply_patch <<'EOF'\n{patch}\nEOF")
    escaped = function_call(
        5, "c5", "shell", command=["bash", "-lc", "printf '" + patch.replace("\n", "\\n") + "' | apply_patch"]
    )
    action = codex(
        "response_item", 6, type="local_shell_call", call_id="c6", action={"command": ["apply_patch", patch]}
    )

    for event in events(meta("s"), custom, shell, script, quoted, escaped, action):
        assert event.paths == ("a.rs", "b.rs", "c.rs")
        assert (event.payload["path"], event.payload["paths"]) == ("a.rs", ["a.rs", "b.rs", "c.rs"])
        assert event.payload["input"]["path"] == "a.rs"


def test_calls_without_a_call_id_are_counted():
    searched = codex("response_item", 1, type="web_search_call", status="completed", action={"query": "q"})
    found = codex("response_item", 2, type="tool_search_call", call_id="c1", arguments={"query": "x"})

    assert [event.tool for event in events(meta("s"), searched, found)] == ["web_search", "tool_search"]


def test_tools_of_a_server_carry_its_name():
    called = function_call(1, name="_fetch_pr")
    called["payload"]["namespace"] = "mcp__github"

    assert events(meta("s"), called)[0].tool == "mcp__github__fetch_pr"


def test_aborted_and_failed_turns_are_errors_and_compactions_events():
    found = events(
        meta("s"),
        codex("event_msg", 1, type="turn_aborted", reason="interrupted"),
        codex("event_msg", 2, type="error", message="usage limit"),
        codex("compacted", 3, message=""),
        codex("event_msg", 3, type="context_compacted"),
    )

    assert [event.kind for event in found] == [Kind.ERROR, Kind.ERROR, Kind.LIFECYCLE]


def test_branch_commit_version_and_instructions_are_recorded():
    parser = feed(
        CodexParser("stem"),
        lines(
            meta("s"), turn(1, user_instructions="be brief"), codex("event_msg", 1, type="user_message", message="x")
        ),
    )

    assert parser.parsed.events[0].place == ("/repo/demo", "main", "0.120.0", "a" * 40)
    assert len(parser.prompt_fingerprint) == 16


def bare(kind, **more):
    return {"type": kind, **more}


def said(role, text):
    return bare("message", role=role, content=[{"type": "input_text", "text": text}])


def test_builds_that_wrote_bare_lines_are_read():
    parser = CodexParser("stem")
    first = {"id": "old", "timestamp": "2025-08-20T10:00:00Z", "instructions": None, "git": {"branch": "main"}}
    place = "<environment_context>\n  <cwd>/repo/demo</cwd>\n</environment_context>"

    feed(
        parser,
        lines(
            first,
            {"record_type": "state"},
            said("user", place),
            said("user", "fix it"),
            bare("reasoning", summary=[]),
            bare("function_call", name="shell", arguments='{"command": ["ls"]}', call_id="c1"),
            bare("function_call_output", call_id="c1", output='{"metadata": {"exit_code": 1}}'),
            said("assistant", "done"),
        ),
    )

    found = parser.parsed.events
    assert (parser.session_id, parser.parsed.rejects) == ("old", [])
    assert [event.kind for event in found] == [Kind.MESSAGE, Kind.TOOL_CALL, Kind.TOOL_RESULT, Kind.MESSAGE]
    assert found[0].payload["prompt"] is True
    assert found[2].payload["is_error"] is True
    assert {(event.place.cwd, event.place.branch) for event in found} == {("/repo/demo", "main")}
    assert {(event.ts_ms, event.ts_exact, event.tokens) for event in found} == {(1_755_684_000_000, False, None)}


def test_a_bare_line_before_any_time_is_rejected():
    [reject] = feed(CodexParser("stem"), lines(said("user", "x"))).parsed.rejects

    assert reject.reason == "bad_time"


def test_calls_and_outputs_of_kinds_not_known_yet_are_counted():
    found = events(
        meta("s"),
        codex("response_item", 1, type="local_shell_call", call_id="c1", action={"command": ["ls"]}),
        codex("response_item", 2, type="local_shell_call_output", call_id="c1", output="Exit code: 2"),
        codex("response_item", 3, type="image_generation_call", status="completed"),
    )

    assert [(event.kind, event.tool) for event in found] == [
        (Kind.TOOL_CALL, "local_shell"),
        (Kind.TOOL_RESULT, "local_shell"),
        (Kind.TOOL_CALL, "image_generation"),
    ]
    assert found[1].payload["is_error"] is True


def test_a_record_without_a_time_has_that_of_the_one_before_it():
    first, late = meta("s"), codex("event_msg", 1, type="user_message", message="hi")
    first["payload"]["timestamp"] = first.pop("timestamp")
    del late["timestamp"]

    [found] = events(first, late)

    assert (found.ts_ms, found.ts_exact) == (START_MS, False)


@pytest.mark.parametrize(
    "told",
    [
        {"source": {"subagent": {"other": "guardian"}}},
        {"source": {"subagent": "review"}},
        {"source": {"subagent": {"thread_spawn": {"parent_thread_id": "p", "depth": 1}}}},
        {"source": "cli", "thread_source": "subagent"},
        {"source": "cli", "thread_source": "memory_consolidation"},
        {"source": {"internal": "memory_consolidation"}},
        {"source": "cli", "parent_thread_id": "p"},
    ],
)
def test_what_a_program_wrote_to_a_sub_agent_is_no_prompt(told):
    asked = codex("event_msg", 1, type="user_message", message="review this")
    item = codex("event_msg", 2, type="item_completed", item={"type": "UserMessage", "content": "and this"})

    assert feed(CodexParser("s"), lines(meta("s", **told), asked, item)).parsed.events == []
    assert len(feed(CodexParser("s"), lines(meta("s", source="cli"), asked, item)).parsed.events) == 2


@pytest.mark.parametrize("page", ["", "_01a03d5c-e4b7-7e02-b2d8-de3ee9c7b8dd"])
def test_a_rollout_that_lost_its_first_line_is_called_by_its_name(page):
    session = "01a03d4c-6ad5-7c61-8fb6-eb5c80d47252"

    assert CodexParser(f"rollout-2026-09-09T09-33-56-{session}{page}").session_id == session
    assert CodexParser("rollout-1").session_id == "rollout-1"
