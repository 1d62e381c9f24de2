"""The agents' settings files: where a hook stands in each, and how it gets in and out again.

A file is read and written as JSON with its own indentation; what others wrote in it stays. What it held before is kept
under `$KAIZEN_HOME/hooks/`, so that removing the hook restores the file byte for byte unless it was changed since.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.files import write_file
from kaizen_analytics.ingest.records import Agent

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS = re.compile(r"kaizen[-_]analytics\S*\s+hook\s")
_PART = re.compile(r"--part \d+/(\d+)")
_INGEST = "--ingest"
_TIMEOUT_S = 5
_PLUGIN = "kaizen-analytics"
PLUGIN_PARTS = 5
"""How many texts of `hook._PART_SIZE` characters the plugin of Claude Code asks for."""
LABELS = {Agent.CLAUDE_CODE: "Claude Code", Agent.CODEX: "Codex", Agent.CURSOR: "Cursor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """The settings of one agent, of a user or of a project."""

    agent: Agent
    path: Path
    is_project: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """What installing or removing the hook makes of a file; None stands for no file."""

    file: SettingsFile
    before: str | None
    after: str | None

    @property
    def difference(self) -> str:
        """The change as a unified diff; empty where nothing changes."""
        name = str(self.file.path)
        old, new = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        lines = [line if line.endswith("\n") else f"{line}\n" for line in difflib.unified_diff(old, new, name, name)]
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class _InstalledHook:
    """The hook in a settings file.

    `parts` is how many texts of `hook._PART_SIZE` it asks for, None: texts of any size. `ingest` says whether the end
    of a session starts one. `missing` is what it starts and is gone, such as a Python that was removed.
    """

    parts: int | None
    ingest: bool
    missing: str | None


def find_settings(agent: Agent, environment: Mapping[str, str], home: Path, project: Path | None) -> SettingsFile:
    """Return the settings file of an agent: that of `project`, else the user's.

    >>> find_settings(Agent.CODEX, {}, Path("/home/ada"), None).path.as_posix()
    '/home/ada/.codex/hooks.json'
    """
    folder, name, variable = {
        Agent.CLAUDE_CODE: (".claude", "settings.json", "CLAUDE_CONFIG_DIR"),
        Agent.CODEX: (".codex", "hooks.json", "CODEX_HOME"),
        Agent.CURSOR: (".cursor", "hooks.json", ""),
    }[agent]
    moved = environment.get(variable, "").split(",")[0]
    base = project / folder if project is not None else Path(moved) if moved else home / folder
    return SettingsFile(agent=agent, path=base / name, is_project=project is not None)


def hook_command(*, is_project: bool, home: str | None) -> list[str]:
    """Return how an agent starts the hook: by name in a project, whose users install it where they like.

    A user's own settings start this Python without the search for installed packages, which takes as long as the hook.

    >>> hook_command(is_project=True, home=None)
    ['kaizen-analytics', 'hook']
    """
    if is_project:
        return ["kaizen-analytics", "hook"]
    main = str(Path(__file__).with_name("__main__.py"))
    return [sys.executable, "-I", "-S", main, "hook", *(["--home", home] if home else [])]


def plan_install(file: SettingsFile, command: list[str], parts: int, *, ingest: bool = False) -> SettingsChange:
    """Return what installing the hook makes of a file; a hook of ours that is there is replaced.

    `command` starts the hook (`hook_command`). Claude Code is to ask for `parts` texts of `hook._PART_SIZE` characters;
    the others take a text whole. With `ingest`, the end of a session starts one.

    Raises:
        ConfigError: the file cannot be read, or is not JSON of the form that the agent reads.

    >>> file = find_settings(Agent.CODEX, {}, tmp, None)
    >>> print(plan_install(file, ["kaizen-analytics", "hook"], 1).after.splitlines()[1])
      "hooks": {
    """
    before = _read(file.path)
    document = _parse(file, before)
    wanted = _entries(file.agent, command, parts, ingest=ingest)
    if _find_ours(document) == [entry for entries in wanted.values() for entry in entries]:
        return SettingsChange(file=file, before=before, after=before)
    _remove_ours(document)
    if file.agent is Agent.CURSOR:
        document.setdefault("version", 1)
    hooks = document.setdefault("hooks", {})
    for event, entries in wanted.items():
        hooks.setdefault(event, []).extend(entries)
    return SettingsChange(file=file, before=before, after=_render(document, before))


def plan_removal(file: SettingsFile, backups: Path) -> SettingsChange:
    """Return what removing the hook makes of a file: what it was before, or the same without our entries.

    Raises:
        ConfigError: as for `plan_install`.

    >>> plan_removal(find_settings(Agent.CODEX, {}, tmp, None), tmp).difference
    ''
    """
    before = _read(file.path)
    kept = _read_backup(file, backups)
    if kept is not None and kept["after_sha256"] == _digest(before):
        return SettingsChange(file=file, before=before, after=kept["before"])
    document = _parse(file, before)
    if not _find_ours(document):
        return SettingsChange(file=file, before=before, after=before)
    _remove_ours(document)
    return SettingsChange(file=file, before=before, after=_render(document, before))


def apply_change(change: SettingsChange, backups: Path) -> None:
    """Write a file in one step; what it held before the hook is kept until the hook is removed.

    >>> change = plan_install(find_settings(Agent.CODEX, {}, tmp, None), ["kaizen-analytics", "hook"], 1)
    >>> apply_change(change, tmp / "backups")
    >>> apply_change(plan_removal(change.file, tmp / "backups"), tmp / "backups")
    >>> change.file.path.exists()
    False
    """
    path, kept = change.file.path.resolve(), _backup_path(change.file, backups)
    if change.after is None or not _find_ours(_parse(change.file, change.after)):
        kept.unlink(missing_ok=True)
    else:
        former = _read_backup(change.file, backups)
        is_ours = former is not None and former["after_sha256"] == _digest(change.before)
        before = former["before"] if former is not None and is_ours else change.before
        record = {"path": str(path), "before": before, "after_sha256": _digest(change.after)}
        _write(kept, json.dumps(record, ensure_ascii=False), 0o600)
    if change.after is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, change.after, path.stat().st_mode & 0o777 if path.exists() else 0o644)


def read_hook(file: SettingsFile) -> _InstalledHook | None:
    """Return the hook that a settings file holds, None where it holds none.

    Raises:
        ConfigError: as for `plan_install`.

    >>> file = find_settings(Agent.CODEX, {}, tmp, None)
    >>> apply_change(plan_install(file, ["/gone/python", "/gone/kaizen_analytics", "hook"], 1), tmp / "backups")
    >>> read_hook(file)
    _InstalledHook(parts=None, ingest=False, missing='/gone/python')
    """
    ours = _find_ours(_parse(file, _read(file.path)))
    commands = [item["command"] for entry in ours for item in (entry, *_inner(entry)) if _is_ours(item)]
    starts = [command for command in commands if not command.endswith(_INGEST)]
    counts = [int(found[1]) for command in starts if (found := _PART.search(command))]
    words = [word.strip('"') for command in commands for word in _split(command.partition(" hook ")[0])]
    missing = next((word for word in words if Path(word).is_absolute() and not Path(word).exists()), None)
    parts = max(counts, default=None)
    return _InstalledHook(parts=parts, ingest=len(starts) < len(commands), missing=missing) if starts else None


def has_plugin(file: SettingsFile) -> bool:
    """Return whether the settings beside a file switch on the plugin, whose hook is another door to the same lot.

    Raises:
        ConfigError: a settings file cannot be read.

    >>> has_plugin(find_settings(Agent.CLAUDE_CODE, {}, tmp, None))
    False
    """
    if file.agent is Agent.CLAUDE_CODE:
        plugins = _parse(file, _read(file.path)).get("enabledPlugins")
    elif file.agent is Agent.CODEX:
        path = file.path.with_name("config.toml")
        try:
            plugins = tomllib.loads(_read(path) or "").get("plugins")
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path} is not TOML: {error}.") from error
    else:
        return False
    switches = plugins.items() if isinstance(plugins, dict) else ()
    return any(
        name.startswith(f"{_PLUGIN}@") and (value.get("enabled", True) if isinstance(value, dict) else value is True)
        for name, value in switches
    )


def _split(command: str) -> list[str]:
    return shlex.split(command, posix=os.name != "nt")


def _entries(agent: Agent, command: list[str], parts: int, *, ingest: bool = False) -> dict[str, list[dict[str, Any]]]:
    """Return what stands under each event."""

    def render(*options: str) -> str:
        words = [*command, "--agent", agent.value, *options]
        return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)

    called: dict[str, list[dict[str, Any]]]
    if agent is Agent.CURSOR:
        # Builds that do not call at a session's start call at its prompts, so that the session is counted at least.
        called = {event: [{"command": render()}] for event in ("sessionStart", "beforeSubmitPrompt")}
        return called | ({"sessionEnd": [{"command": render(_INGEST)}]} if ingest else {})
    limits = {"timeout": _TIMEOUT_S}
    at_end = [{"hooks": [{"type": "command", "command": render(_INGEST), **limits}]}]
    if agent is Agent.CODEX:
        # Without the limit of 0, Codex cuts out the middle of a text above 2,500 tokens.
        hooks = [{"type": "command", "command": render(), **limits, "additionalContextLimit": 0}]
    else:
        commands = [render("--part", f"{number}/{parts}") for number in range(1, parts + 1)]
        hooks = [{"type": "command", "command": text, **limits} for text in commands]
    # Sub-agents do not get the text of a session's start.
    called = {event: [{"hooks": hooks}] for event in ("SessionStart", "SubagentStart")}
    return called | ({"SessionEnd": at_end} if ingest else {})


def _is_ours(entry: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(entry, dict) and bool(_OURS.search(str(entry.get("command", ""))))


def _find_ours(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries that hold a hook of ours, in the order of the file."""
    entries = [entry for listed in document.get("hooks", {}).values() for entry in listed]
    return [entry for entry in entries if _is_ours(entry) or any(map(_is_ours, _inner(entry)))]


def _inner(entry: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    inner = entry.get("hooks") if isinstance(entry, dict) else None
    return inner if isinstance(inner, list) else []


def _remove_ours(document: dict[str, Any]) -> None:
    """Take our entries out, and what is empty without them."""
    hooks = document.get("hooks", {})
    for event, listed in list(hooks.items()):
        kept = []
        for entry in listed:
            others = [item for item in _inner(entry) if not _is_ours(item)]
            if len(others) < len(_inner(entry)):
                kept += [{**entry, "hooks": others}] if others else []
            elif not _is_ours(entry):
                kept.append(entry)
        if kept or not listed:
            hooks[event] = kept
        else:
            del hooks[event]
    if "hooks" in document and not hooks:
        del document["hooks"]


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode() if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}. Nothing was changed.") from error


def _parse(file: SettingsFile, text: str | None) -> dict[str, Any]:
    def refuse(problem: str) -> ConfigError:
        return ConfigError(
            f"{file.path} {problem}, so the hook cannot be added or removed without losing something. "
            f"Nothing was changed; mend the file, or edit it by hand as docs/how-to/randomised.md shows."
        )

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            raise refuse("has a name twice in one object")
        return members

    if text is None or not text.strip():
        return {}
    try:
        document = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise refuse(f"is not JSON ({error}; comments are not JSON)") from error
    hooks = document.get("hooks", {}) if isinstance(document, dict) else None
    if not isinstance(hooks, dict) or not all(isinstance(listed, list) for listed in hooks.values()):
        raise refuse('does not hold an object with lists under "hooks"')
    return dict(document)


def _render(document: dict[str, Any], before: str | None) -> str:
    """Return the file in the form that it had: its indentation, its escapes, its last line break."""
    text = before or ""
    indent = re.search(r"\n([ \t]+)\S", text)
    is_compact = "\n" not in text.strip() and len(text.strip()) > 2
    rendered = json.dumps(
        document,
        ensure_ascii="\\u" in text and text.isascii(),
        indent=None if is_compact else indent[1] if indent else 2,
    )
    end = "\n" if not text.strip() or text.endswith("\n") else ""
    return (rendered + end).replace("\n", "\r\n" if "\r\n" in text else "\n")


def _digest(text: str | None) -> str:
    return hashlib.sha256(b"absent" if text is None else f"text:{text}".encode()).hexdigest()


def _backup_path(file: SettingsFile, backups: Path) -> Path:
    return backups / f"{hashlib.sha256(str(file.path.resolve()).encode()).hexdigest()[:16]}.json"


def _read_backup(file: SettingsFile, backups: Path) -> dict[str, Any] | None:
    path = _backup_path(file, backups)
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def _write(path: Path, text: str, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode())
        path.chmod(mode)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from error
