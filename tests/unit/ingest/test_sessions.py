"""Listing and showing sessions: sql/sessions/session_listing.sql and session_timeline.sql, and their commands."""

from __future__ import annotations

import json

import pytest
from ingest_lines import START_MS, answer, call, claude_file, line, lines, prompt, result, usage
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import find_session, list_sessions, read_timeline


@pytest.fixture
def home(tmp_path):
    told = [
        prompt("a", 1),
        answer("b", 2, "m1", call("t1", "Bash", command="make")),
        result("c", 3, "t1", "boom", is_error=True),
    ]
    claude_file(tmp_path / "home", "s1", lines(*told))
    claude_file(tmp_path / "home", "s2", line(answer("d", 100, "m2", session="s2", model="claude-nobody-9")))
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path, home):
    with Store.open(tmp_path / "store.db", create=True) as opened:
        run_ingest(opened, [home])
        yield opened


def test_the_listing_counts_what_a_session_used(store):
    newest, oldest = list_sessions(store).to_dicts()

    assert (newest["session_id"], newest["cost_usd"], newest["tokens_out"]) == ("s2", None, 5)
    counts = {name: oldest[name] for name in ("events", "prompts", "tool_calls", "failures")}
    assert counts == {"events": 4, "prompts": 1, "tool_calls": 1, "failures": 1}
    assert (oldest["reasoning_tokens"], oldest["cost_usd"] > 0) == (None, True)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["s2", "s1"]),
        ({"agent": "codex"}, []),
        ({"since_ms": START_MS + 50_000}, ["s2"]),
        ({"until_ms": START_MS + 50_000}, ["s1"]),
        ({"workspace": "/repo"}, ["s2", "s1"]),
        ({"workspace": "/rep"}, []),
    ],
)
def test_the_listing_can_be_filtered(store, filters, expected):
    assert list_sessions(store, **filters)["session_id"].to_list() == expected


def test_a_response_without_a_price_takes_only_its_own_part_of_the_cost(store, home):
    told = [
        answer("e", 200, "m3", session="s3", tokens=usage(100, 0, 0, 0)),
        answer("f", 201, "m4", session="s3", tokens=usage(300, 0, 0, 0), model="claude-nobody-9"),
    ]
    claude_file(home, "s3", lines(*told))
    run_ingest(store, [home])

    newest = list_sessions(store).to_dicts()[0]

    assert (newest["session_id"], newest["cost_usd"], newest["priced_share"]) == ("s3", pytest.approx(0.0003), 0.25)


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(-6, "Done"), (-1, "Running"), (4.99, "Running"), (5, "Idle"), (59.9, "Idle"), (60, "Done")],
)
def test_the_status_is_told_by_the_age_of_the_last_event(store, minutes, expected):
    last_ms = START_MS + 100_000

    newest = list_sessions(store, now_ms=last_ms + round(minutes * 60_000)).to_dicts()[0]

    assert (newest["session_id"], newest["status"]) == ("s2", expected)


def test_the_stored_status_does_not_depend_on_the_clock(store):
    assert set(list_sessions(store)["status"]) == {"Done"}


def test_a_timeline_has_every_event_in_order(store):
    frame = read_timeline(store, "s1")

    assert frame["kind"].to_list() == ["Message", "Message", "ToolCall", "ToolResult"]
    assert frame["seq"].to_list() == [0, 1, 2, 3]


def test_the_beginning_of_an_id_is_enough_when_it_is_unique(store):
    assert find_session(store, "s1") == "s1"
    with pytest.raises(ConfigError, match="begins 2 session ids"):
        find_session(store, "s")
    with pytest.raises(ConfigError, match="sessions list"):
        find_session(store, "nothing%")


def run(*arguments):
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_the_commands_agree_with_each_other(tmp_path, home):
    store = tmp_path / "cli.db"

    summary = json.loads(run("ingest", "--home", home, "--store", store, "--json"))
    again = json.loads(run("ingest", "--home", home, "--store", store, "--json"))
    listed = json.loads(run("sessions", "list", "--store", store, "--json"))["sessions"]
    shown = json.loads(run("sessions", "show", "s1", "--store", store, "--json"))["events"]
    models = json.loads(run("prices", "--store", store, "--json"))["models"]

    claude = summary["agents"]["claude_code"]
    assert (claude["sessions"], claude["new_events"]) == (len(listed), 5)
    assert again["agents"]["claude_code"]["new_events"] == 0
    assert sum(session["events"] for session in listed) == claude["events"]
    assert shown[3]["payload"]["is_error"] is True
    assert [(model["model"], model["source"] is None) for model in models] == [
        ("claude-nobody-9", True),
        ("claude-sonnet-4-5-20250929", False),
    ]


def test_the_commands_print_text_for_people(tmp_path, home):
    store = tmp_path / "cli.db"

    assert "5 new events" in run("ingest", "--home", home, "--store", store)
    assert "No line was rejected" in run("ingest", "--rejects", "--store", store)
    assert "claude-nobody-9" in run("sessions", "list", "--store", store)
    assert "Bash FAILED" in run("sessions", "show", "s1", "--store", store)
    assert "unknown" in run("prices", "--store", store)
