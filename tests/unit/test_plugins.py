"""The plugins: their hooks are those of `hooks install`, and what they run exists and is redacted."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer import Context
from typer.core import TyperGroup
from typer.main import get_command

import kaizen_analytics
from kaizen_analytics import agent_settings
from kaizen_analytics.cli import app
from kaizen_analytics.ingest.records import Agent

ROOT = Path(__file__).resolve().parents[2]
CLAUDE, CODEX = ROOT / "plugins" / "claude-code", ROOT / "plugins" / "codex"
TEXTS = sorted([*CLAUDE.rglob("*.md"), *CODEX.rglob("*.md")])
COMMANDS = sorted(
    {(path, line) for path in TEXTS for line in re.findall(r"`(kaizen-analytics [^`]+)`", path.read_text())}
)
PRINTING = re.compile(r"kaizen-analytics (exp|retro|sessions|usage|report)\b")
"""Commands that print what the store holds."""
FOR_PEOPLE = ("exp start ID", "exp evaluate ID", "exp new --from-finding ID", "exp evaluate")
"""What an agent names and does not run."""


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_manifests_have_the_version_of_the_package_and_one_description():
    claude, codex = read(CLAUDE / ".claude-plugin" / "plugin.json"), read(CODEX / ".codex-plugin" / "plugin.json")

    assert claude["version"] == codex["version"] == kaizen_analytics.__version__
    assert claude.items() <= codex.items()
    [claude_entry] = read(ROOT / ".claude-plugin" / "marketplace.json")["plugins"]
    [codex_entry] = read(ROOT / ".agents" / "plugins" / "marketplace.json")["plugins"]
    assert (ROOT / claude_entry["source"]).resolve() == CLAUDE
    assert (ROOT / codex_entry["source"]["path"]).resolve() == CODEX
    assert claude_entry["name"] == codex_entry["name"] == claude["name"]


@pytest.mark.parametrize(("agent", "folder"), [(Agent.CLAUDE_CODE, CLAUDE), (Agent.CODEX, CODEX)])
def test_a_plugin_has_the_hooks_that_would_be_installed_and_its_own_door(agent: Agent, folder: Path):
    text = (folder / "hooks" / "hooks.json").read_text(encoding="utf-8")
    hooks = json.loads(text.replace(" --door plugin", ""))["hooks"]
    commands = re.findall(r'"command": "([^"]+)"', text)

    assert all(" --door plugin" in command for command in commands)
    installed = agent_settings._entries(agent, ["kaizen-analytics", "hook"], agent_settings.PLUGIN_PARTS)
    assert hooks == installed


def test_both_plugins_say_the_same_of_verdicts():
    skill = Path("skills") / "reading-verdicts" / "SKILL.md"
    assert (CLAUDE / skill).read_text(encoding="utf-8") == (CODEX / skill).read_text(encoding="utf-8")


@pytest.mark.parametrize(("path", "line"), COMMANDS, ids=[f"{path.parent.name}-{line[:60]}" for path, line in COMMANDS])
def test_a_command_that_a_plugin_names_exists(path: Path, line: str):
    for part in line.replace("2>&1", "").split("|"):
        _, *words = shlex.split(part)
        command, context = get_command(app), Context(get_command(app))
        while isinstance(command, TyperGroup) and words and (found := command.get_command(context, words[0])):
            command = found
            words = words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        assert command.name != get_command(app).name, part
        assert {word for word in words if re.match(r"--\w", word)} <= known, path


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parts[-3]}-{path.parent.name}-{path.stem}")
def test_what_an_agent_is_shown_is_redacted(path: Path):
    lines = [line for owner, line in COMMANDS if owner == path and PRINTING.match(line)]
    shown = [line for line in lines if line.removeprefix("kaizen-analytics ") not in FOR_PEOPLE]

    assert [line for line in shown if not line.endswith("2>&1 | kaizen-analytics redact")] == []
    assert [line for line in shown if "exp new" not in line and "--share" not in line] == []
    assert shown or path.parent.name == "reading-verdicts"
