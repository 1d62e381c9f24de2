"""Start an agent in the arm that its session is drawn into.

`run` draws before the start, because arguments, environment and settings cannot be given to a session that is running.
Then it replaces itself by the agent. The hook ties the session's id to the arm by the variables that are set here.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError, ExperimentError, did_you_mean
from kaizen_analytics.hook import CONTROL, TREATMENT, draw, find_record, find_unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESUME = {"claude": ("--resume", "-r"), "codex": ("resume",)}
_RESUME_LATEST = {"claude": ("--continue", "-c"), "codex": ("--last",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launch:
    """A command line, what is added to its environment, and the arm that it belongs to."""

    command: tuple[str, ...]
    environment: dict[str, str]
    arm: str
    unit: str


def find_assignment(folder: Path, prefix: str) -> dict[str, Any]:
    """Return the running experiment whose id is `prefix`, or the only one whose id starts with it.

    Raises:
        ExperimentError: there is none, or there are several.

    >>> find_assignment(Path("/nowhere"), "3f2a")
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: No randomised experiment 3f2a is running on this machine.
    """
    documents: list[dict[str, Any]] = [json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))]
    known = {document["experiment"]: document for document in documents}
    matches = [prefix] if prefix in known else [name for name in known if name.startswith(prefix)]
    if not matches:
        raise ExperimentError(
            f"No randomised experiment {prefix} is running on this machine.{did_you_mean(prefix, known)}"
        )
    if len(matches) > 1:
        raise ExperimentError(f"{prefix!r} is the start of several experiments: {', '.join(sorted(matches))}.")
    return known[matches[0]]


def plan_launch(
    assignment: Mapping[str, Any],
    command: Sequence[str],
    *,
    environment: dict[str, str],
    cwd: str,
    now_ms: int,
    nonce: str | None = None,
) -> _Launch:
    """Draw the unit of a session that is about to start and return how to start it.

    `nonce` is the unit of a new session, where sessions are drawn; by default a random one.

    Raises:
        ConfigError: the command continues a session that it does not name, or the agent cannot take what an arm gets.
        ExperimentError: the session that it continues takes no part, or it is on no branch.

    >>> assignment = {"experiment": "e1", "seed": "00" * 16, "unit": "session", "control_share": 0.5, "spool": "/none",
    ...               "arms": {"Control": {}, "Treatment": {"args": ["--model", "haiku"]}}}
    >>> launch = plan_launch(assignment, ["claude"], environment={}, cwd="/", now_ms=0, nonce="s2")
    >>> launch.arm, launch.command
    ('Treatment', ('claude', '--model', 'haiku'))
    """
    unit = _find_continued(assignment, command)
    if unit is None:
        unit = find_unit(assignment["unit"], nonce or str(uuid.uuid4()), cwd, environment, now_ms)
    if unit is None:
        raise ExperimentError(f"{cwd} is on no {assignment['unit']}, which is what this experiment draws.")
    arm = draw(assignment["seed"], assignment["experiment"], unit, assignment["control_share"])
    content, other = assignment["arms"][arm], assignment["arms"][TREATMENT if arm == CONTROL else CONTROL]
    options = [*content.get("args", ()), *_settings_options(command, content, other)]
    variables = dict(pair.split("=", 1) for pair in content.get("env", ()))
    variables |= {"KAIZEN_EXPERIMENT": assignment["experiment"], "KAIZEN_ARM": arm, "KAIZEN_UNIT": unit}
    end = list(command).index("--") if "--" in command else len(command)
    return _Launch(
        command=(*command[:end], *options, *command[end:]), environment=environment | variables, arm=arm, unit=unit
    )


def name_agent(command: Sequence[str]) -> str:
    """Return the name of the program that a command line starts.

    >>> name_agent(["/usr/bin/claude", "-p"])
    'claude'
    """
    return PurePath(command[0]).stem.lower()


def _find_continued(assignment: Mapping[str, Any], command: Sequence[str]) -> str | None:
    """Return the unit of the session that a command line continues, None where it starts a new one."""
    words = list(command[1 : command.index("--")] if "--" in command else command[1:])
    agent = name_agent(command)
    if any(word in _RESUME_LATEST.get(agent, ()) for word in words):
        raise ConfigError("The command continues the latest session; name the session, so that it keeps its arm.")
    place = next((i for i, word in enumerate(words) if word.partition("=")[0] in _RESUME.get(agent, ())), None)
    if place is None:
        return None
    _, equals, session = words[place].partition("=")
    if not equals:
        session = next((word for word in words[place + 1 : place + 2] if not word.startswith("-")), "")
    if not session:
        raise ConfigError("The command continues a session without its id; name it, so that it keeps its arm.")
    spool = Path(assignment["spool"])
    record = find_record(spool.read_bytes() if spool.exists() else b"", assignment["experiment"], "session", session)
    if record is None or record["arm"] is None:
        raise ExperimentError(
            f"Session {session} takes no part in experiment {assignment['experiment']}; continue it without 'run'."
        )
    return str(record["unit"])


def _settings_options(command: Sequence[str], content: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options that give a session its arm's settings and keep the other arm's file from it."""
    needed = any(body.get("settings") or body.get("file") for body in (content, other))
    if not needed:
        return ()
    if name_agent(command) != "claude":
        raise ConfigError(
            f"{name_agent(command)} cannot take a settings file or leave out one instruction file; only Claude Code "
            "('claude') can. Plan the experiment with --treatment-text or --treatment-args instead."
        )
    if any(word == "--settings" or word.startswith("--settings=") for word in command):
        raise ConfigError("The command has --settings already, and Claude Code takes one; leave it out.")
    settings = json.loads(content.get("settings") or "{}")
    if other.get("file"):
        settings["claudeMdExcludes"] = [
            *settings.get("claudeMdExcludes", []),
            f"**/{PurePath(other['file']).as_posix()}",
        ]
    return ("--settings", json.dumps(settings)) if settings else ()
