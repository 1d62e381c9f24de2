"""The MCP server, asked by the client of the official SDK."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import jsonschema
import pytest
from mcp import MCPError
from mcp.client import client, stdio

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.reports.sharing import Share, prepare_share
from kaizen_analytics.serving.answers import Answers, _list_tools
from kaizen_analytics.serving.server import _build_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW_MS = 1_790_600_000_000
CALLS: dict[str, dict[str, Any]] = {
    "usage": {"by": ["month", "model"], "days": 365},
    "sessions": {"days": 365, "limit": 1000},
    "outcomes": {"days": 365, "limit": 3},
    "experiments": {},
    "evaluate": {"experiment": "small-model"},
    "power": {"metric": "tokens_per_session"},
    "retro": {"days": 28},
}


@pytest.fixture
def store(sample_store: Path, tmp_path: Path) -> Path:
    return shutil.copyfile(sample_store, tmp_path / "analytics.db")


def ask(answers: Answers, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """Return the results of some calls of tools."""

    async def run() -> list[Any]:
        async with client.Client(_build_server(lambda: replace(answers))) as session:
            return [await session.call_tool(name, given) for name, given in calls]

    return anyio.run(run)


def document(result: Any) -> dict[str, Any]:
    assert not result.is_error, result.content[0].text
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


def refusal(result: Any) -> str:
    assert result.is_error
    return result.content[0].text


@pytest.fixture
def printed(store: Path, program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that gives what a command prints with --json."""
    monkeypatch.setattr("time.time_ns", lambda: NOW_MS * 1_000_000)
    return lambda *arguments: program(*arguments, "--json", "--store", store).json()


@pytest.mark.slow
@pytest.mark.usefixtures("few_simulations")
def test_every_answer_is_of_its_schema_and_nothing_is_written(store: Path):
    before = store.read_bytes()
    results = ask(Answers(store=store, clock=lambda: NOW_MS), *CALLS.items())
    assert store.read_bytes() == before
    for (name, tool), result in zip(_list_tools().items(), results, strict=True):
        jsonschema.validate(document(result), tool.gives)
        assert tool.description.endswith("."), name


@pytest.mark.slow
@pytest.mark.usefixtures("few_simulations")
def test_the_numbers_are_those_of_the_command_line(store: Path, printed: Callable[..., Any]):
    answers = Answers(store=store, clock=lambda: NOW_MS, full=True)
    usage, sessions, experiments, evaluation, power = (
        document(result)
        for result in ask(answers, *((name, CALLS[name]) for name in ("usage", "sessions", "experiments")),
                          ("evaluate", {"experiment": "small"}), ("power", CALLS["power"]))
    )  # fmt: skip
    shown = printed("usage", "--by", "month,model", "--timezone", "UTC")
    numbers = ("sessions", "responses", "tokens_in", "tokens_out", "cost_usd")
    assert [[row[name] for name in numbers] for row in usage["usage"]] == [
        [row[name] for name in numbers] for row in shown["usage"]
    ]
    assert usage["total"] == shown["total"]
    assert {row["session"]: row["tokens_in"] for row in sessions["sessions"]} == {
        row["session_id"]: row["tokens_in"] for row in printed("sessions", "list")["sessions"]
    }
    evaluated = printed("exp", "evaluate", "small-model")
    assert evaluation == evaluated
    rows = [row for row in experiments["experiments"] if row["id"] == "small-model" and row["role"] == "primary"]
    assert [row["decision"] for row in rows] == [evaluated["decision"]["headline"]]
    assert (
        power["sessions"] == printed("exp", "power", "--metric", "tokens_per_session", "--all-workspaces")["sessions"]
    )


def test_names_are_pseudonyms_unless_everything_is_wanted(store: Path):
    call = ("usage", {"by": ["workspace"], "days": 365})
    hidden, full = (
        document(ask(Answers(store=store, clock=lambda: NOW_MS, full=full), call)[0]) for full in (False, True)
    )
    assert all("/" in row["workspace"] for row in full["usage"])
    assert not any("/" in row["workspace"] for row in hidden["usage"])
    assert [row["tokens_in"] for row in hidden["usage"]] == [row["tokens_in"] for row in full["usage"]]


def test_what_must_not_leave_is_read_once_for_each_answer(store: Path, monkeypatch: pytest.MonkeyPatch):
    reads: list[list[Path]] = []

    def count(stores: list[Path]) -> Share:
        reads.append(stores)
        return prepare_share(stores)

    monkeypatch.setattr("kaizen_analytics.serving.answers.prepare_share", count)
    answers = Answers(store=store, clock=lambda: NOW_MS)
    for result in ask(answers, ("usage", CALLS["usage"]), ("outcomes", CALLS["outcomes"])):
        document(result)
    assert reads == [[store], [store]]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("usage", {"by": ["phase"]}, "'phase' is not one of"),
        ("usage", {"days": 0}, "0 is less than the minimum of 1"),
        ("usage", {"folder": "/"}, "'folder' was unexpected"),
        ("evaluate", {}, "'experiment' is a required property"),
        ("evaluate", {"experiment": "no-such"}, "experiment not found: no-such"),
        ("drop", {}, "There is no tool 'drop'"),
    ],
)
def test_a_wrong_call_is_refused_with_the_reason(store: Path, name: str, given: dict[str, Any], message: str):
    assert message in refusal(ask(Answers(store=store, clock=lambda: NOW_MS), (name, given))[0])


@pytest.mark.slow
def test_pages_are_markdown(store: Path):
    async def read(uri: str) -> str:
        async with client.Client(_build_server(lambda: Answers(store=store, clock=lambda: NOW_MS))) as session:
            return (await session.read_resource(uri)).contents[0].text

    assert anyio.run(read, "kaizen://retro").startswith("# Retro, ")
    assert "**Target.**" in anyio.run(read, "kaizen://experiments/small-model")
    with pytest.RaisesGroup(
        pytest.RaisesExc(MCPError, match="There is no page 'kaizen://secrets'"), flatten_subgroups=True
    ):
        anyio.run(read, "kaizen://secrets")


def test_a_missing_store_is_said_without_its_folder(tmp_path: Path):
    told = refusal(ask(Answers(store=tmp_path / "none.db"), ("retro", {}))[0])
    assert "none.db" in told
    assert "init" in told or "ingest" in told


def test_a_store_that_is_being_written_is_read_or_said_to_be_busy(store: Path):
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        result = ask(Answers(store=store, clock=lambda: NOW_MS), ("usage", CALLS["usage"]))[0]
        connection.execute("rollback")
    assert "total" in result.structured_content if not result.is_error else "busy" in result.content[0].text


def test_a_client_that_cancels_gets_its_next_answer(store: Path):
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        go_on.wait(30)
        return NOW_MS

    clocks = iter([slow, lambda: NOW_MS])

    def clock() -> int:
        return next(clocks)()

    answers = Answers(store=store, clock=clock)

    async def run() -> Any:
        async with client.Client(_build_server(lambda: replace(answers))) as session:
            with anyio.move_on_after(60) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(session.call_tool, "usage", CALLS["usage"])
                    await anyio.to_thread.run_sync(begun.wait)
                    group.cancel_scope.cancel()
            assert not scope.cancelled_caught
            return await session.call_tool("usage", CALLS["usage"])

    try:
        assert document(anyio.run(run))["total"]["responses"] > 0
    finally:
        go_on.set()


def test_without_the_extra_the_command_names_it(store: Path, program: Callable[..., Any], monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    for name in ("kaizen_analytics.serving.server", "kaizen_analytics.cli.mcp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    answer = program("mcp", "--store", store)
    assert answer.code == ConfigError.exit_code
    assert "pip install 'kaizen_analytics[mcp]'" in answer.err


def test_the_server_starts_without_what_only_an_answer_needs():
    heavy = ("polars", "scipy", "duckdb", "jsonschema")
    code = f"import sys, kaizen_analytics.cli.mcp; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.long
def test_a_client_starts_the_command_and_is_answered(store: Path):
    command = stdio.StdioServerParameters(
        command=sys.executable, args=["-m", "kaizen_analytics", "mcp", "--store", str(store)]
    )

    async def run() -> Any:
        async with client.Client(stdio.stdio_client(command)) as session:
            assert [tool.name for tool in (await session.list_tools()).tools] == [*CALLS]
            return await session.call_tool("usage", CALLS["usage"])

    assert document(anyio.run(run))["total"]["responses"] > 0
