"""What heuristics read: the window's sessions, and the facts of their payloads."""

import polars as pl
import pytest
from retro_stores import DAY_MS, MONDAY_MS, WEEK, add_session, answer, edits, prompt, result, tool

from kaizen_analytics.errors import QueryError
from kaizen_analytics.retro.relations import SCHEMAS, Material, complete_relations, missing_inputs, read_material
from kaizen_analytics.store import Store

NO_GUIDANCE = pl.DataFrame(schema=SCHEMAS["guidance"])


def read(store: Store, workspace: str | None = None) -> Material:
    lookback = MONDAY_MS - 28 * DAY_MS
    return read_material(store, WEEK, workspace=workspace, lookback_start_ms=lookback, guidance=NO_GUIDANCE)


def ids(material: Material, relation: str = "sessions", column: str = "id") -> list[str]:
    return sorted(material.relations[relation][column].unique().to_list())


def test_a_session_belongs_to_the_window_by_the_start_of_its_root(store: Store) -> None:
    add_session(store, "before", MONDAY_MS - 1, [answer()])
    add_session(store, "first", MONDAY_MS, [answer()])
    add_session(store, "late child", WEEK.end_ms + 5, [answer()], parent_session_id="first")
    add_session(store, "after", WEEK.end_ms, [answer()])
    material = read(store)

    assert ids(material) == ["first", "late child"]
    assert ids(material, "session_metrics", "session_id") == ["first"]
    assert sorted(material.metrics["session_id"]) == ["before", "first"]
    assert material.first_session_ms == MONDAY_MS - 1


def test_a_workspace_covers_the_folders_below_it_and_no_others(store: Store) -> None:
    for name, folder in (("a", "/w/shop"), ("b", "/w/shop/api"), ("c", "/w/shop-api"), ("d", "/w")):
        add_session(store, name, MONDAY_MS, [answer()], workspace=folder)

    assert ids(read(store, "/w/shop")) == ["a", "b"]
    assert ids(read(store)) == ["a", "b", "c", "d"]


def test_paths_are_told_from_the_workspace(store: Store) -> None:
    calls = [
        tool("Edit", "1", path="/w/shop/src/a.py"),
        tool("Edit", "2", path="src/b.py"),
        tool("Edit", "3", path="/etc/hosts"),
        tool("Edit", "4", path="README.md"),
        tool("Edit", "5", path="src/od`d.py"),
    ]
    add_session(store, "s", MONDAY_MS, calls)
    touches = read(store).relations["touches"].sort("seq")

    assert touches["path"].to_list() == ["src/a.py", "src/b.py", "/etc/hosts", "README.md", "src/od'd.py"]
    assert touches["top_folder"].to_list() == ["src", "src", None, None, "src"]


def test_paths_of_several_workspaces_are_kept_apart(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, edits("/w/shop/src/a.py", 1))
    add_session(store, "t", MONDAY_MS, edits("/w/bank/src/a.py", 1), workspace="/w/bank")
    touches = read(store).relations["touches"].sort("path")

    assert touches["path"].to_list() == ["bank/src/a.py", "shop/src/a.py"]
    assert touches["top_folder"].to_list() == ["bank/src", "shop/src"]


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("pytest -q", "pytest"),
        ("cd /w/shop && git status", "git status"),
        ("git -C /w -c a=b log --oneline", "git log"),
        ("FOO=1 BAR=2 timeout 60 go test ./...", "go test"),
        ("sudo /usr/local/bin/make", "make"),
        ("npm run build", "npm run"),
        ("(echo hi)", "Bash"),
        ("ls|wc", "ls"),
        ("", "Bash"),
    ],
)
def test_a_command_is_known_by_its_program(store: Store, command: str, program: str) -> None:
    add_session(store, "s", MONDAY_MS, [tool("Bash", "1", input={"command": command})])
    [call] = read(store).relations["calls"].to_dicts()

    assert (call["program"] or call["tool"], call["tool_class"]) == (program, "shell")


@pytest.mark.parametrize(
    ("name", "tool_class"),
    [
        ("Read", "read"),
        ("read_file", "read"),
        ("apply_patch", "edit"),
        ("Grep", "search"),
        ("Task", "delegate"),
        ("mcp__jira__get", "mcp"),
        ("exec_command", "shell"),
        ("TodoWrite", "other"),
    ],
)
def test_tools_of_all_agents_fall_into_a_few_classes(store: Store, name: str, tool_class: str) -> None:
    add_session(store, "s", MONDAY_MS, [tool(name, "1")])
    assert read(store).relations["calls"]["tool_class"].to_list() == [tool_class]


def test_a_call_carries_its_result(store: Store) -> None:
    events = [
        tool("Bash", "1", input={"command": "npm\n  start"}),
        result("Bash", "1", is_error=True, error="port\n80  is `taken`", rejected=True, chars=7),
        tool("Bash", "2", input={"command": "ls"}),
    ]
    add_session(store, "s", MONDAY_MS, events)
    failed, unknown = read(store).relations["calls"].sort("seq").to_dicts()

    assert (failed["command"], failed["error"]) == ("npm start", "port 80 is 'taken'")
    assert (failed["is_error"], failed["is_rejected"], failed["chars"]) == (1, True, 7)
    assert (unknown["is_error"], unknown["is_rejected"]) == (None, False)


@pytest.mark.parametrize("payload", ["", "not json", "[1]", '{"input": "text", "path": 3, "is_error": "x"}'])
def test_a_payload_of_another_shape_gives_nulls(store: Store, payload: str) -> None:
    add_session(store, "s", MONDAY_MS, [{"kind": "ToolCall", "tool": "Bash", "payload": payload}])
    [call] = read(store).relations["calls"].to_dicts()

    assert (call["command"], call["program"], call["is_error"]) == (None, None, None)


def test_prompts_and_responses_are_told_apart(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, [prompt(), answer(tokens=7), {**answer(), "tokens_in": None}])
    material = read(store)

    assert material.relations["responses"].select("position", "tokens_in").rows() == [(1, 7)]
    assert material.relations["session_metrics"]["prompts_per_session"].to_list() == [1]


def test_guidance_use_reaches_back_before_the_window(store: Store) -> None:
    add_session(store, "s", MONDAY_MS - 20 * DAY_MS, [tool("Task", "1", input={"subagent_type": "Reviewer"})])
    with store.write():
        store.insert("skills_used", pl.DataFrame({"session_id": ["s"], "skill": ["plugin:Deploy"]}))
        store.insert("rules_used", pl.DataFrame({"session_id": ["s"], "rule": [".cursor/rules/style.mdc"]}))
    used = read(store).relations["guidance_use"].sort("kind")

    assert used.select("kind", "name").rows() == [("agent", "reviewer"), ("rule", "style.mdc"), ("skill", "deploy")]


def test_tables_of_kaizen_are_read_where_they_exist(store: Store) -> None:
    add_session(store, "s", MONDAY_MS, [answer()])
    assert read(store).relations["session_outcomes"].is_empty()
    assert missing_inputs(["session_outcomes"], read(store).relations) == ["session_outcomes"]


def test_a_need_that_nothing_provides_is_an_error() -> None:
    relations = complete_relations({})
    for need in ("session_outcome", "calls.iserror"):
        with pytest.raises(QueryError, match=need):
            missing_inputs([need], relations)


def test_an_unknown_relation_or_column_is_an_error() -> None:
    with pytest.raises(QueryError, match="no relation 'call'"):
        complete_relations({"call": pl.DataFrame()})
    with pytest.raises(QueryError, match="is missing"):
        complete_relations({"guidance_use": pl.DataFrame({"session_id": ["s"]})})
