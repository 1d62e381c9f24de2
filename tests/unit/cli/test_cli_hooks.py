"""Experiments drawn by lot from the command line: plan, start, hook, `run`, fold, show, conclude."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rows import write_rows

from kaizen_analytics.hook import append_record, draw
from kaizen_analytics.store import Store, manual_tags
from kaizen_analytics.store.assignments import spool_beside

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("home")

DAY_MS = 86_400_000
NEW = ("exp", "new", "--id", "e1", "--name", "Brief", "--metric", "cost_per_session", "--target-pct", "-10")
NEW = (*NEW, "--design", "fixed")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a repository and a store that holds one session a day of 25 days, on two branches, by one user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "kaizen"))
    monkeypatch.setenv("KAIZEN_STORE", str(tmp_path / "kaizen.db"))
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    monkeypatch.chdir(repo)
    now_ms = time.time_ns() // 1_000_000
    rows = [
        {
            "id": f"past{i}",
            "workspace": str(repo),
            "branch": ("main", "short")[i % 2],
            "started_at_ms": now_ms - i * DAY_MS,
        }
        for i in range(25)
    ]
    with Store.open(tmp_path / "kaizen.db", create=True) as store:
        write_rows(store, rows)
    return tmp_path


@pytest.fixture
def call(program: Callable[..., Any]) -> Callable[..., Any]:
    return program


@pytest.fixture
def running(home: Path, call: Callable[..., Any]) -> str:
    """A running experiment whose treatment gets a text."""
    (home / "brief.md").write_text("Answer in one sentence.\n")
    assert call(*NEW, "--assign", "session", "--treatment-text", str(home / "brief.md")).code == 0
    answer = call("exp", "start", "e1")
    assert (answer.code, answer.err) == (0, "")
    assert "hooks install" in answer.out
    return "e1"


def start_session(home: Path, session: str, *options: str, **environment: str) -> str:
    """Run the hook as an agent does and return the text that it answers."""
    given = json.dumps({"session_id": session, "cwd": str(home / "repo"), "hook_event_name": "SessionStart"})
    command = [sys.executable, "-m", "kaizen_analytics", "hook", *options]
    run = subprocess.run(
        command, input=given, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return json.loads(run.stdout)["hookSpecificOutput"]["additionalContext"] if run.stdout else ""


def published(home: Path) -> list[str]:
    return sorted(file.name for file in (home / "kaizen" / "assignments").glob("*"))


@pytest.mark.usefixtures("running")
@pytest.mark.slow
def test_from_plan_to_conclusion_the_drawn_arm_is_the_recomputed_one(home: Path, call):
    assert published(home) == ["e1.json"]
    assert (home / "kaizen" / "assignments" / "e1.json").stat().st_mode & 0o777 == 0o600
    texts = {f"s{i}": start_session(home, f"s{i}") for i in range(6)}
    shown = json.loads(call("exp", "show", "e1", "--json").out)
    seed = shown["plan"]["randomisation"]["seed"]
    arms = {session: draw(seed, "e1", session, 0.5) for session in texts}

    assert {session: bool(text) for session, text in texts.items()} == {
        session: arm == "Treatment" for session, arm in arms.items()
    }
    assert set(texts.values()) <= {"Answer in one sentence.\n", ""}
    assert {item["session_id"]: item["arm"] for item in shown["draws"]} == arms
    with Store.open(home / "kaizen.db") as store:
        assert {session: arm.value for session, arm in manual_tags(store, "e1").items()} == arms
    table = call("exp", "show", "e1").out
    assert "each session is drawn by lot, 50.0\N{NO-BREAK SPACE}% into control" in table
    assert "6 sessions of 6 units" in table
    assert "kaizen-analytics hooks install" in table
    assert call("exp", "conclude", "e1").code == 0
    assert published(home) == []
    assert start_session(home, next(s for s, text in texts.items() if text)) == ""


@pytest.mark.usefixtures("running")
def test_the_seed_and_the_content_are_fixed_at_the_start(home: Path, call):
    before = (home / "kaizen" / "assignments" / "e1.json").read_bytes()
    (home / "brief.md").write_text("Something else.\n")
    call("exp", "list")
    assert (home / "kaizen" / "assignments" / "e1.json").read_bytes() == before
    with Store.open(home / "kaizen.db") as store:
        store.native("update ka_arms set content = '{}' where arm = 'Treatment' returning 1")
    answer = call("exp", "assign", "e1", "--unit-id", "u1")
    assert answer.code == 1
    assert "digests differ" in answer.err


@pytest.mark.parametrize(("unit", "count"), [("branch", "2 branches"), ("user", "0 users")])
def test_a_unit_that_many_sessions_share_does_not_start(home: Path, call, unit: str, count: str):
    assert call(*NEW, "--assign", unit).code == 0
    answer = call("exp", "start", "e1")

    assert answer.code == 1
    assert f"The last 30 days hold {count}" in answer.err
    assert "20 or more" in answer.err
    assert json.loads(call("exp", "show", "e1", "--json").out)["experiment"]["state"] == "Draft"
    assert published(home) == []


def test_days_are_enough_units(home: Path, call):
    call(*NEW, "--assign", "day", "--split", "30")
    answer = call("exp", "start", "e1")
    assert answer.code == 0
    assert "The last 30 days had 25 days to draw" in answer.out
    document = json.loads((home / "kaizen" / "assignments" / "e1.json").read_text())
    assert (document["unit"], document["control_share"]) == ("day", 0.3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--treatment-args", "--model haiku", "--bind", "manual"], "--treatment-args needs --assign"),
        (["--assign", "week"], "expected one of session, day, branch, user"),
        (
            ["--assign", "session", "--bind", "git", "--control-commit", "a", "--treatment-commit", "b"],
            "leave --bind out",
        ),
        (["--assign", "session", "--cluster", "user"], "Leave --cluster out"),
        (["--assign", "session", "--treatment-env", "LEVEL"], "expected KEY=VALUE"),
        (["--assign", "session", "--treatment-args", "--say 'it"], "cannot be split"),
        (["--assign", "session", "--treatment-text", "nowhere.md"], "cannot be read"),
        (["--assign", "session", "--split", "0"], "control_share is 0.0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(call, options: list[str], message: str):
    answer = call(*NEW, *options)

    assert answer.code in (1, 2)
    assert message in answer.err


@pytest.mark.parametrize(
    ("text", "message"), [("[]", "not a JSON object"), ("{", "not valid JSON"), (" \n", "is empty")]
)
def test_settings_must_be_an_object(home: Path, call, text: str, message: str):
    (home / "settings.json").write_text(text)
    answer = call(*NEW, "--assign", "session", "--treatment-settings", str(home / "settings.json"))

    assert answer.code == 2
    assert message in answer.err


def test_a_text_longer_than_the_installed_parts_is_refused_at_the_start(home: Path, call):
    (home / "long.md").write_text("x" * 20_000)
    call("hooks", "install", "--agent", "claude_code", "--parts", "2", "--yes")
    call(*NEW, "--assign", "session", "--treatment-text", str(home / "long.md"))
    answer = call("exp", "start", "e1")

    assert answer.code == 2
    assert "needs 3 parts" in answer.err
    assert "--parts 3" in answer.err
    call("hooks", "install", "--agent", "claude_code", "--parts", "3", "--yes")
    assert call("exp", "start", "e1").code == 0


def test_a_text_longer_than_the_parts_of_the_plugin_is_refused_at_the_start(home: Path, call):
    (home / "long.md").write_text("x" * 50_000)
    call(*NEW, "--assign", "session", "--treatment-text", str(home / "long.md"))
    (home / ".claude").mkdir()
    (home / ".claude" / "settings.json").write_text('{"enabledPlugins": {"kaizen-analytics@here": true}}')

    assert "needs 6 parts" in call("exp", "start", "e1").err


def test_the_hook_is_shown_installed_and_removed(home: Path, call):
    settings = home / ".claude" / "settings.json"
    settings.parent.mkdir()
    settings.write_text('{\n  "model": "opus"\n}\n')
    refused = call("hooks", "install")
    assert refused.code == 2
    assert '+  "hooks": {' in refused.out
    assert settings.read_text() == '{\n  "model": "opus"\n}\n'

    assert "Changed 1 of 1 files" in call("hooks", "install", "--yes", "--ingest").out
    assert "nothing to change" in call("hooks", "install", "--yes", "--ingest").out
    status = json.loads(call("hooks", "status", "--json").out)["hooks"]
    assert [row["ingest"] for row in status] == [row["installed"] for row in status]
    installed = [(row["agent"], row["project"], row["installed"]) for row in status]
    assert installed[:3] == [("claude_code", False, True), ("codex", False, False), ("cursor", False, False)]
    assert not any(is_installed for _, is_project, is_installed in installed if is_project)
    assert "Claude Code" in call("hooks", "status").out
    removed = json.loads(call("hooks", "remove", "--yes", "--json").out)["files"]
    assert [row["changed"] for row in removed] == [True]
    assert settings.read_text() == '{\n  "model": "opus"\n}\n'


def test_an_installed_hook_whose_python_is_gone_is_named(home: Path, call):
    call("hooks", "install", "--agent", "codex", "--yes")
    file = home / ".codex" / "hooks.json"
    file.write_text(file.read_text().replace(sys.executable, "/gone/python"))

    assert json.loads(call("hooks", "status", "--json").out)["hooks"][1]["missing"] == "/gone/python"
    assert "broken, install it again: /gone/python is gone" in call("hooks", "status").out
    call("hooks", "install", "--agent", "codex", "--yes")
    assert json.loads(call("hooks", "status", "--json").out)["hooks"][1]["missing"] is None


def test_a_plugin_is_another_door(home: Path, call):
    files = {
        ".claude/settings.json": '{"enabledPlugins": {"other@x": true, "kaizen-analytics@here": %s}}',
        ".codex/config.toml": '[plugins."kaizen-analytics@here"]\nenabled = %s\n',
    }
    for word, plugin in (("true", True), ("false", False)):
        for name, text in files.items():
            (home / name).parent.mkdir(exist_ok=True)
            (home / name).write_text(text % word)
        rows = json.loads(call("hooks", "status", "--json").out)["hooks"]
        assert [row["plugin"] for row in rows[:3]] == [plugin, plugin, False]
        assert ("by the plugin" in call("hooks", "status").out) == plugin
    call("hooks", "install", "--agent", "claude_code", "--yes")
    (home / ".claude" / "settings.json").write_text(
        (home / ".claude" / "settings.json").read_text().replace("false", "true")
    )
    assert "yes, and the plugin" in call("hooks", "status").out


@pytest.mark.usefixtures("running")
def test_a_plugin_is_enough_to_run_an_agent(home: Path, call):
    agent = home / "claude"
    agent.write_text("#!/bin/sh\nexit 0\n")
    agent.chmod(0o755)
    assert "hook is not installed" in call("run", "e1", "--", str(agent)).err
    (home / ".claude").mkdir()
    (home / ".claude" / "settings.json").write_text('{"enabledPlugins": {"kaizen-analytics@here": true}}')
    command = [sys.executable, "-m", "kaizen_analytics", "run", "e1", "--", str(agent)]
    assert subprocess.run(command, check=False).returncode == 0


def test_a_shared_verdict_names_nobody(home: Path, call):
    (home / "brief.md").write_text("Answer in one sentence.\n")
    options = ("--assign", "session", "--treatment-text", str(home / "brief.md"))
    assert call(*NEW, "--name", "As ada@example.org asked", *options).code == 0
    assert call("exp", "start", "e1").code == 0

    for form in ((), ("--json",)):
        assert "ada@example.org" in call("exp", "evaluate", "e1", *form).out
        shared = call("exp", "evaluate", "e1", "--share", *form)
        assert (shared.code, "ada@example.org" in shared.out, "As <R:em:" in shared.out) == (0, False, True)


@pytest.mark.usefixtures("running")
def test_the_command_that_is_installed_answers(home: Path, call):
    call("hooks", "install", "--agent", "codex", "--yes")
    document = json.loads((home / ".codex" / "hooks.json").read_text())
    command = document["hooks"]["SessionStart"][0]["hooks"][0]["command"]
    given = json.dumps({"session_id": "s1", "cwd": str(home / "repo"), "hook_event_name": "SessionStart"})
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}
    subprocess.run(command, shell=True, input=given, text=True, env=environment, check=True)

    assert [item["session_id"] for item in json.loads(call("exp", "show", "e1", "--json").out)["draws"]] == ["s1"]


def test_project_settings_need_a_repository(home: Path, call, monkeypatch: pytest.MonkeyPatch):
    assert call("hooks", "install", "--project", "--agent", "codex", "--yes").code == 0
    hooks = json.loads((home / "repo" / ".codex" / "hooks.json").read_text())["hooks"]
    assert hooks["SessionStart"][0]["hooks"][0]["command"] == "kaizen-analytics hook --agent codex"
    monkeypatch.chdir(home)
    assert call("hooks", "install", "--project", "--agent", "codex", "--yes").code == 2
    assert call("hooks", "install", "--agent", "emacs", "--yes").code == 2
    assert call("hooks", "install", "--yes").code == 2, "no agent has a folder here"


@pytest.mark.usefixtures("running")
def test_a_script_draws_by_itself_and_records_a_session(home: Path, call):
    document = json.loads(call("exp", "assign", "e1", "--unit-id", "job-1", "--json").out)
    assert document == json.loads(call("exp", "assign", "e1", "--unit-id", "job-1", "--json").out)
    assert call("exp", "assign", "e1", "--unit-id", "job-1").out == f"{document['arm']}\n"
    seed = json.loads((home / "kaizen" / "assignments" / "e1.json").read_text())["seed"]
    assert document["arm"] == draw(seed, "e1", "job-1", 0.5)
    assert (document["content"]["text"] is not None) == (document["arm"] == "Treatment")
    assert not spool_beside(home / "kaizen.db").exists()

    for _ in range(2):
        assert call("exp", "assign", "e1", "--unit-id", "job-1", "--record", "s1").code == 0
    [found] = json.loads(call("exp", "show", "e1", "--json").out)["draws"]
    assert (found["session_id"], found["unit"], found["arm"]) == ("s1", "job-1", document["arm"])
    assert call("exp", "assign", "e1", "--unit-id", "job-2", "--record", "s1").code == 1


def launched(*command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "kaizen_analytics", "run", "e1", "--", *command]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)


@pytest.mark.slow
def test_run_becomes_the_agent_in_the_arm_that_its_hook_records(home: Path, call):
    call(*NEW, "--assign", "session", "--treatment-args", "--level low", "--treatment-env", "LEVEL=low")
    call("exp", "start", "e1")
    agent = home / "agent.sh"
    hook = f"{sys.executable} -m kaizen_analytics hook"
    agent.write_text(
        "#!/bin/sh\n"
        f'printf \'{{"session_id": "%s", "cwd": "{home}/repo", "hook_event_name": "SessionStart"}}\' "$1" | {hook}\n'
        'shift; echo "$KAIZEN_EXPERIMENT $KAIZEN_ARM $LEVEL $*"; exit 7\n'
    )
    agent.chmod(0o755)
    runs = {f"s{i}": launched(str(agent), f"s{i}", "hi") for i in range(3)}
    found = json.loads(call("exp", "show", "e1", "--json").out)["draws"]
    arms = {item["session_id"]: item["arm"] for item in found}

    assert set(arms) == set(runs)
    assert len({item["unit"] for item in found}) == 3
    for session, run in runs.items():
        treated = arms[session] == "Treatment"
        expected = f"e1 {arms[session]} {'low hi --level low' if treated else ' hi'}\n"
        assert (run.returncode, run.stdout, run.stderr) == (7, expected, "")
    assert start_session(home, "alone") == ""
    shown = call("exp", "show", "e1").out
    assert "not drawn: started without 'run' (1)" in shown
    assert "kaizen-analytics run e1 -- claude" in shown


@pytest.mark.usefixtures("running")
def test_run_refuses_what_it_could_not_tell_apart_later(call):
    unknown = launched("nobody-has-this-agent")
    assert (unknown.returncode, "cannot be started" in unknown.stderr) == (2, True)
    hookless = launched("claude", "-p", "hi")
    assert (hookless.returncode, "hooks install --agent claude_code" in hookless.stderr) == (2, True)
    assert call("run", "e9", "--", "true").code == 1


@pytest.mark.usefixtures("running")
def test_doctor_says_what_waits_and_what_is_lost(home: Path, call):
    start_session(home, "s1")
    with spool_beside(home / "kaizen.db").open("a") as spool:
        spool.write('\n{"experiment": "e1", "sess\n')
    notes = {item["name"]: item["rows"] for item in json.loads(call("doctor", "--json").out)["checks"]}
    assert (notes["waiting_draws"], notes["lost_draws"]) == (2, 0)
    call("exp", "list")
    notes = {item["name"]: item["rows"] for item in json.loads(call("doctor", "--json").out)["checks"]}
    assert (notes["waiting_draws"], notes["lost_draws"]) == (0, 1)


@pytest.mark.parametrize("name", ["../../out", "x" * 300])
def test_an_id_never_leaves_the_folder_of_assignments(home: Path, call, name: str):
    before = {path for path in home.rglob("*") if path.is_file()}
    assert call("exp", "new", "--id", name, *NEW[4:], "--assign", "session").code == 0
    assert call("exp", "start", name).code == 0
    made = {path for path in home.rglob("*.json") if path.is_file()} - before

    assert [path.parent for path in made] == [home / "kaizen" / "assignments"]
    assert call("exp", "conclude", name).code == 0
    assert published(home) == []


@pytest.mark.usefixtures("running")
def test_experiments_of_another_store_stay_published(home: Path, call):
    other = home / "kaizen" / "assignments" / "other.json"
    other.write_text(json.dumps({"experiment": "other", "spool": "/elsewhere/spool"}))
    call("exp", "conclude", "e1")

    assert published(home) == ["other.json"]


@pytest.mark.usefixtures("running")
def test_what_waits_is_folded_by_whatever_reads_experiments(home: Path, call):
    record = {"experiment": "e1", "unit": "u", "arm": "Control", "at_ms": 1}
    for number, words in enumerate((["exp", "tags", "e1"], ["exp", "evaluate", "e1"], ["exp", "list"])):
        append_record(spool_beside(home / "kaizen.db"), {**record, "session": f"s{number}"})
        call(*words)
        with Store.open(home / "kaizen.db") as store:
            assert f"s{number}" in manual_tags(store, "e1")
