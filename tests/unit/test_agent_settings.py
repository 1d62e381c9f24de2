"""The hook in the agents' settings: what others wrote stays, twice is once, and removing restores every byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.agent_settings import (
    SettingsChange,
    _InstalledHook,
    apply_change,
    find_settings,
    hook_command,
    plan_install,
    plan_removal,
    read_hook,
)
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.records import Agent

COMMAND = ["/opt/my tools/kaizen-analytics", "hook"]

CLAUDE = """{
    "$schema": "https://json.schemastore.org/claude-code-settings.json",
    "permissions": {
        "allow": ["Bash(npm run test:*)", "Read(~/.zshrc)"],
        "deny": ["Read(./.env)"]
    },
    "env": {"MY_NAME": "Zoë"},
    "hooks": {
        "PreToolUse": [
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "guard.sh hook --strict"}]}
        ],
        "SessionStart": [
            {"matcher": "startup", "hooks": [{"type": "command", "command": "git status --short"}]}
        ]
    },
    "model": "opus"
}
"""
CODEX = '{"hooks":{"SessionStart":[{"hooks":[{"type":"command","command":"notify-send started"}]}]}}'
CURSOR = (
    '{\n\t"version": 1,\n\t"hooks": {\n\t\t"afterFileEdit": [\n\t\t\t{\n\t\t\t\t"command": "./fmt.sh"\n\t\t\t}\n'
    '\t\t],\n\t\t"sessionStart": []\n\t}\n}'
)
REAL = {
    "claude, hooks of others": (Agent.CLAUDE_CODE, CLAUDE),
    "claude, Windows line ends": (Agent.CLAUDE_CODE, CLAUDE.replace("\n", "\r\n")),
    "claude, nothing but a model": (Agent.CLAUDE_CODE, '{"model": "opus"}'),
    "codex, one line": (Agent.CODEX, CODEX),
    "cursor, tabs": (Agent.CURSOR, CURSOR),
    **{f"{agent}, no file": (agent, None) for agent in Agent},
    **{f"{agent}, empty file": (agent, "") for agent in Agent},
    **{f"{agent}, empty object": (agent, "{}") for agent in Agent},
    **{f"{agent}, empty hooks": (agent, '{ "hooks" : { } }\n') for agent in Agent},
    **{f"{agent}, escapes": (agent, '{\n "note": "\\u00e9"\n}\n') for agent in Agent},
}
cases = pytest.mark.parametrize(("agent", "text"), REAL.values(), ids=REAL)


def put(home: Path, agent: Agent, text: str | None):
    file = find_settings(agent, {}, home, None)
    file.path.parent.mkdir(parents=True, exist_ok=True)
    if text is not None:
        file.path.write_bytes(text.encode())
    return file


def install(file, home: Path, parts: int = 1, *, ingest: bool = False) -> SettingsChange:
    change = plan_install(file, COMMAND, parts, ingest=ingest)
    apply_change(change, home / "backups")
    return change


def remove(file, home: Path) -> SettingsChange:
    change = plan_removal(file, home / "backups")
    apply_change(change, home / "backups")
    return change


def content(file) -> bytes | None:
    return file.path.read_bytes() if file.path.exists() else None


def strip_ours(value: object) -> object:
    """Return a document without our entries and without what is empty then."""
    if isinstance(value, dict):
        if "kaizen-analytics" in str(value.get("command")):
            return None
        return {key: kept for key, item in value.items() if (kept := strip_ours(item)) not in (None, [], {})}
    if isinstance(value, list):
        return [kept for item in value if (kept := strip_ours(item)) not in (None, [], {})]
    return value


@cases
def test_installing_keeps_what_is_there_and_removing_restores_every_byte(
    tmp_path: Path, agent: Agent, text: str | None
):
    file = put(tmp_path, agent, text)
    change = install(file, tmp_path, parts=3, ingest=True)

    assert change.difference.startswith(f"--- {file.path}\n+++ {file.path}\n")
    after = json.loads(file.path.read_bytes())
    before = strip_ours(json.loads(text)) if text else {}
    assert strip_ours(after) == before | ({"version": 1} if agent is Agent.CURSOR else {})
    assert list(json.loads(text or "{}")) == [name for name in after if name in json.loads(text or "{}")]
    assert read_hook(file) == _InstalledHook(3 if agent is Agent.CLAUDE_CODE else None, True, COMMAND[0])

    assert install(file, tmp_path, parts=3, ingest=True).difference == ""
    assert json.loads(file.path.read_bytes()) == after
    remove(file, tmp_path)
    assert content(file) == (None if text is None else text.encode())
    assert read_hook(file) is None
    assert list((tmp_path / "backups").iterdir()) == []
    assert remove(file, tmp_path).difference == ""


@pytest.mark.parametrize("agent", list(Agent))
def test_in_a_file_as_the_agents_write_it_the_difference_only_adds(tmp_path: Path, agent: Agent):
    text = json.dumps(json.loads(CLAUDE), indent=2, ensure_ascii=False) + "\n"
    change = plan_install(put(tmp_path, agent, text), COMMAND, 2)
    lines = change.difference.splitlines()[2:]
    added = [line[1:] for line in lines if line.startswith("+")]
    removed = [line[1:] for line in lines if line.startswith("-")]

    assert added
    assert [line for line in removed if f"{line}," not in added] == [], "a line only gets a comma"
    assert content(change.file) == text.encode(), "planning writes nothing"


@cases
def test_a_file_that_was_changed_since_loses_our_entries_only(tmp_path: Path, agent: Agent, text: str | None):
    file = put(tmp_path, agent, text)
    install(file, tmp_path)
    document = json.loads(file.path.read_bytes())
    file.path.write_text(json.dumps({**document, "theme": "dark"}))
    remove(file, tmp_path)

    before = strip_ours(json.loads(text)) if text else {}
    expected = before | ({"version": 1} if agent is Agent.CURSOR else {}) | {"theme": "dark"}
    assert strip_ours(json.loads(file.path.read_bytes())) == expected
    assert read_hook(file) is None


def test_other_parts_replace_the_hook_and_removing_still_restores_the_first_file(tmp_path: Path):
    file = put(tmp_path, Agent.CLAUDE_CODE, CLAUDE)
    for parts in (1, 5, 2):
        install(file, tmp_path, parts, ingest=parts == 5)
        assert read_hook(file) == _InstalledHook(parts, parts == 5, COMMAND[0])
    assert file.path.read_text().count("kaizen-analytics") == 2 * 2
    remove(file, tmp_path)
    assert file.path.read_text() == CLAUDE


def test_what_each_agent_is_told(tmp_path: Path):
    for agent in Agent:
        install(put(tmp_path, agent, None), tmp_path, parts=2, ingest=True)
    claude, codex, cursor = (json.loads(find_settings(agent, {}, tmp_path, None).path.read_bytes()) for agent in Agent)

    def call(*options: str) -> str:
        return " ".join(["'/opt/my tools/kaizen-analytics' hook", *options])

    parts = [call("--agent claude_code --part", f"{k}/2") for k in (1, 2)]
    for event in ("SessionStart", "SubagentStart"):
        [group] = claude["hooks"][event]
        assert [hook["command"] for hook in group["hooks"]] == parts
        [[hook]] = [group["hooks"] for group in codex["hooks"][event]]
        assert (hook["command"], hook["additionalContextLimit"]) == (call("--agent codex"), 0)
    for name, document in (("claude_code", claude), ("codex", codex)):
        at_end = {"type": "command", "command": call(f"--agent {name} --ingest"), "timeout": 5}
        assert document["hooks"]["SessionEnd"] == [{"hooks": [at_end]}]
    entry = [{"command": call("--agent cursor")}]
    hooks = {
        "sessionStart": entry,
        "beforeSubmitPrompt": entry,
        "sessionEnd": [{"command": call("--agent cursor --ingest")}],
    }
    assert cursor == {"version": 1, "hooks": hooks}


BROKEN = {
    "cut off": '{"hooks": {',
    "comments": '{\n  // mine\n  "model": "opus"\n}',
    "a comma too many": '{"model": "opus",}',
    "a list": "[]",
    "hooks are a list": '{"hooks": []}',
    "an event is an object": '{"hooks": {"SessionStart": {}}}',
    "a name twice": '{"model": "opus", "model": "haiku"}',
    "not UTF-8": b'{"model": "\xff"}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("plan", [lambda f: plan_install(f, COMMAND, 1), lambda f: plan_removal(f, f.path.parent)])
def test_a_file_that_cannot_be_read_is_refused_and_not_touched(tmp_path: Path, text: str | bytes, plan):
    file = put(tmp_path, Agent.CLAUDE_CODE, "")
    raw = text if isinstance(text, bytes) else text.encode()
    file.path.write_bytes(raw)

    with pytest.raises(ConfigError, match="Nothing was changed"):
        plan(file)
    assert file.path.read_bytes() == raw


def test_a_link_to_the_settings_stays_a_link_and_the_mode_stays(tmp_path: Path):
    real = tmp_path / "dotfiles.json"
    real.write_text("{}\n")
    real.chmod(0o600)
    file = put(tmp_path, Agent.CODEX, None)
    file.path.symlink_to(real)
    install(file, tmp_path)

    assert file.path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert "kaizen-analytics" in real.read_text()
    remove(file, tmp_path)
    assert (file.path.is_symlink(), real.read_text()) == (True, "{}\n")


def test_settings_are_where_the_agent_looks(tmp_path: Path):
    moved = {"CLAUDE_CONFIG_DIR": "/c,/d", "CODEX_HOME": "/x"}
    user = [find_settings(agent, moved, tmp_path, None).path.as_posix() for agent in Agent]
    project = [find_settings(agent, moved, tmp_path, Path("/repo")).path.as_posix() for agent in Agent]

    assert user == ["/c/settings.json", "/x/hooks.json", f"{tmp_path.as_posix()}/.cursor/hooks.json"]
    assert project == ["/repo/.claude/settings.json", "/repo/.codex/hooks.json", "/repo/.cursor/hooks.json"]
    assert hook_command(is_project=True, home="/k") == ["kaizen-analytics", "hook"]
    assert hook_command(is_project=False, home="/k")[-3:] == ["hook", "--home", "/k"]


names = st.text(max_size=6)
scalars = st.none() | st.booleans() | st.integers(-9, 9) | names
documents = st.dictionaries(names.filter(lambda name: name != "hooks"), scalars | st.lists(scalars), max_size=4)
groups = st.lists(st.fixed_dictionaries({"hooks": st.lists(st.fixed_dictionaries({"command": names}))}), max_size=2)
hooks = st.dictionaries(st.sampled_from(["SessionStart", "SessionEnd", "sessionEnd"]), groups, max_size=3)


@given(documents, st.none() | hooks, st.sampled_from(list(Agent)), st.sampled_from([None, 2, 4, "\t"]), st.booleans())
def test_any_settings_come_back_byte_for_byte(tmp_path_factory, document, listed, agent, indent, ingest):
    home = tmp_path_factory.mktemp("home")
    whole = document if listed is None else {**document, "hooks": listed}
    text = json.dumps(whole, indent=indent)
    file = put(home, agent, text)
    install(file, home, ingest=ingest)
    assert read_hook(file).ingest == ingest
    remove(file, home)

    assert file.path.read_text() == text
