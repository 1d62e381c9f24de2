"""`hooks …`, `hook` and `run`: let agents take part in experiments whose arms are drawn by lot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from kaizen_analytics.agent_settings import (
    LABELS,
    SettingsChange,
    SettingsFile,
    apply_change,
    find_settings,
    has_plugin,
    hook_command,
    plan_install,
    plan_removal,
    read_hook,
)
from kaizen_analytics.cli.options import JsonOption, command
from kaizen_analytics.cli.output import clean, print_json, print_table
from kaizen_analytics.core.errors import ConfigError, one_of
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.hook import assignments_folder, main
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.launch import find_assignment, name_agent, plan_launch
from kaizen_analytics.store.location import find_workspace

_AgentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--agent",
        metavar="claude_code|codex|cursor",
        help="Only this agent; may be repeated. Default: the agents that have a folder on this machine.",
    ),
]
_ProjectOption = Annotated[
    bool,
    typer.Option(
        "--project/--user", help="The settings in this repository, for all who work in it, or those of this user."
    ),
]
_YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@command("hooks install", "hooks install --agent claude_code --yes")
def _install(
    *,
    agent: _AgentOption = None,
    project: _ProjectOption = False,
    parts: Annotated[
        int, typer.Option(min=1, max=20, help="How many texts of 9,500 characters Claude Code is to ask for.")
    ] = 1,
    ingest: Annotated[
        bool, typer.Option("--ingest", help="Also start 'ingest' in the background whenever a session ends.")
    ] = False,
    yes: _YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add the hook to the agents' settings. The change is shown first; what others wrote stays.

    Claude Code passes on 9,500 characters of one hook, so a longer text of an arm needs several parts.
    """
    command = hook_command(is_project=project, home=os.environ.get("KAIZEN_HOME"))
    _change(
        agent, lambda file: plan_install(file, command, parts, ingest=ingest), project=project, yes=yes, as_json=as_json
    )


@command("hooks remove", "hooks remove --yes")
def _remove(
    *, agent: _AgentOption = None, project: _ProjectOption = False, yes: _YesOption = False, as_json: JsonOption = False
) -> None:
    """Take the hook out of the agents' settings.

    A file that nobody changed since is restored byte for byte.
    """
    _change(agent, lambda file: plan_removal(file, _backups()), project=project, yes=yes, as_json=as_json)


@command("hooks status", "hooks status --json")
def _status() -> Iterator[object]:
    """Show where the hook is installed: user and repository."""
    places = [file for project in (False, True) for file in _find(None, project=project, every=True)]
    rows: list[dict[str, Any]] = [
        {
            "agent": file.agent.value,
            "file": str(file.path),
            "ingest": hook is not None and hook.ingest,
            "installed": hook is not None,
            "missing": hook.missing if hook else None,
            "parts": hook.parts if hook else None,
            "plugin": has_plugin(file),
            "project": file.is_project,
        }
        for file in places
        for hook in [read_hook(file)]
    ]
    yield {"hooks": rows}
    cells = [
        (LABELS[file.agent], _say_installed(row), row["parts"], "yes" if row["ingest"] else "no", row["file"])
        for file, row in zip(places, rows, strict=True)
    ]
    print_table(["agent", "installed", "parts", "ingest", "file"], cells)


def _say_installed(row: dict[str, Any]) -> str:
    if row["missing"]:
        return clean(f"broken, install it again: {row['missing']} is gone")
    if row["plugin"]:
        return "yes, and the plugin" if row["installed"] else "by the plugin"
    return "yes" if row["installed"] else "no"


@command("run", "run 3f2a -- claude", context_settings=_PASSED_ON)
def _run(
    experiment_id: Annotated[str, typer.Argument(metavar="ID", help="The experiment, or the start of its id.")],
    command: Annotated[list[str], typer.Argument(metavar="COMMAND…", help="The agent and its arguments, after --.")],
) -> None:
    """Draw an arm, and start an agent with what the arm gets.

    Arguments, environment and settings, as the plan says. The agent takes the place of this command, so the terminal,
    signals and the exit code are its own.
    """
    assignment = find_assignment(Path(assignments_folder(os.environ)), experiment_id)
    _require_hook(command)
    launch = plan_launch(assignment, command, environment=dict(os.environ), cwd=str(Path.cwd()), now_ms=read_clock())
    sys.stdout.flush()
    try:
        os.execvpe(launch.command[0], launch.command, launch.environment)  # noqa: S606 - the user's own command
    except OSError as error:
        raise ConfigError(f"{launch.command[0]} cannot be started: {error.strerror}.") from error


@command("hook", "hook --agent codex", context_settings=_PASSED_ON)
def _hook() -> None:
    """Draw the arm of a session, and answer with its text. It always exits with 0.

    It reads what the agent passes on standard input, and takes no longer than 150 ms. With --ingest as the last option
    it draws nothing and starts 'ingest' in the background, unless one is running.
    """
    main(sys.argv[2:])


def _require_hook(command: list[str]) -> None:
    """Refuse to start an agent whose hook is missing: nobody would learn which session was drawn."""
    agent = {"claude": Agent.CLAUDE_CODE, "codex": Agent.CODEX, "cursor-agent": Agent.CURSOR}.get(name_agent(command))
    if agent is None:
        return
    files = [file for project in (False, True) for file in _find([agent.value], project=project)]
    by_plugin = any(word.partition("=")[0] == "--plugin-dir" for word in command) or any(map(has_plugin, files))
    if not by_plugin and all(read_hook(file) is None for file in files):
        raise ConfigError(
            f"The hook is not installed for {LABELS[agent]}, so nobody would learn which session was drawn. "
            f"Run 'kaizen-analytics hooks install --agent {agent.value}' first."
        )


def _backups() -> Path:
    return Path(assignments_folder(os.environ)).parent / "hooks"


def _find(agents: list[str] | None, *, project: bool, every: bool = False) -> list[SettingsFile]:
    """Return the settings files that a command is about; none in a project where there is no repository."""
    root = find_workspace(Path.cwd()) if project else None
    if project and root is None:
        if agents is None and every:
            return []
        raise ConfigError(f"{Path.cwd()} is not inside a git repository; --user takes the settings of this user.")
    chosen = [one_of("--agent", name, Agent) for name in agents or ()]
    files = [find_settings(name, os.environ, Path.home(), root) for name in Agent]
    if agents is not None:
        return [file for file in files if file.agent in chosen]
    user = [find_settings(name, os.environ, Path.home(), None) for name in Agent]
    found = {file.agent for file in user if every or file.path.parent.is_dir()}
    if not found:
        raise ConfigError("No agent has a folder on this machine; name one with --agent claude_code|codex|cursor.")
    return [file for file in files if file.agent in found]


def _change(
    agents: list[str] | None, plan: Callable[[SettingsFile], SettingsChange], *, project: bool, yes: bool, as_json: bool
) -> None:
    """Plan the change of every file, show it, ask, and write: all files are read before the first is written."""
    changes = [plan(file) for file in _find(agents, project=project)]
    wanted = [change for change in changes if change.difference or change.before != change.after]
    for change in [] if as_json else changes:
        print(clean(change.difference) or clean(f"{change.file.path}: nothing to change."))
    if wanted and not yes:
        if as_json or not sys.stdin.isatty():
            raise ConfigError("Nothing was changed; --yes makes these changes without asking.")
        typer.confirm("Make these changes?", abort=True)
    for change in wanted:
        apply_change(change, _backups())
    if as_json:
        rows = [
            {
                "agent": item.file.agent.value,
                "file": str(item.file.path),
                "changed": item in wanted,
                "difference": item.difference,
            }
            for item in changes
        ]
        print_json({"files": rows})
    elif wanted:
        print(f"Changed {len(wanted)} of {len(changes)} files.")
