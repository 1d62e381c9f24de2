"""What a tool call touched: paths, commands, skills and rules, from inputs of any agent's tools."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.ingest.records import Json, clean, snippet

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH_FIELDS = ("file_path", "path", "notebook_path", "filePath", "target_file", "relative_workspace_path")
_PATHS = frozenset(_PATH_FIELDS)
_FOLDER_TOOLS = frozenset({"Grep", "Glob", "LS", "grep", "glob", "list_dir", "codebase_search"})
_TEXT_FIELDS = ("command", "cmd", "pattern", "url", "query", "subagent_type", "skill")
_PATCH_PATH = re.compile(r"^\*\*\* (?:Update|Add|Delete) File: (.+?)\s*$|^\*\*\* Move to: (.+?)\s*$", re.MULTILINE)
_SKILL_FILE = re.compile(r"([^/\\\s\"']+)[/\\]SKILL\.md\b")
_RULE_FILE = re.compile(r"([^/\\\s\"']+\.mdc|CLAUDE\.md|AGENTS\.md)\b")
_DONE = frozenset({"completed", "cancelled", "done"})


class Described(NamedTuple):
    """A tool call's payload, and what it adds to the tables of files, skills and rules."""

    payload: Json
    paths: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


def describe_input(name: str, given: Json) -> Described:
    """Return what is kept of a tool's input: short texts and paths, never contents.

    >>> describe_input("Read", {"file_path": "/repo/a.py", "limit": 10}).paths
    ('/repo/a.py',)
    """
    kept: Json = {}
    path = None
    if not _PATHS.isdisjoint(given):
        path = next((value for key in _PATH_FIELDS if type(value := given.get(key)) is str and value), None)
    for key in _TEXT_FIELDS:
        if key in given and (value := _joined(given[key])):
            kept[key] = snippet(value, 500)
    payload: Json = {"input": kept}
    touched: tuple[str, ...] = ()
    if path is not None:
        payload["path"] = kept["path"] = clean(path)
        touched = () if name in _FOLDER_TOOLS else (kept["path"],)
    for key in ("todos", "plan"):
        if type(given.get(key)) is list:
            payload["todos"] = _progress(given[key])
    text = f"{kept.get('path', '')} {kept.get('command', '')} {kept.get('cmd', '')}"
    skill = given.get("skill")
    skills = [skill] if type(skill) is str and skill else []
    if "SKILL.md" in text or ".mdc" in text or "CLAUDE.md" in text or "AGENTS.md" in text:  # faster than the patterns
        return Described(
            payload, touched, _unique([*skills, *_SKILL_FILE.findall(text)]), _unique(_RULE_FILE.findall(text))
        )
    return Described(payload, touched, _unique(skills) if skills else ())


def describe_patch(text: str) -> Described:
    r"""Return what an `apply_patch` text touches.

    >>> describe_patch("*** Update File: src/a.py\n+x").paths
    ('src/a.py',)
    """
    paths = tuple(dict.fromkeys(clean(found[0] or found[1]) for found in _PATCH_PATH.findall(text)))
    payload: Json = {"input": {"chars": len(text)}}
    if paths:
        payload["path"] = payload["input"]["path"] = paths[0]
        payload["paths"] = list(paths)
    return Described(payload, paths)


def add_patch(described: Described, text: str) -> Described:
    """Return a call's description with the files of the patch inside one of its texts.

    >>> add_patch(Described({"input": {}}), "*** Add File: a.py").payload["path"]
    'a.py'
    """
    paths = describe_patch(text).paths or describe_patch(text.replace("\\n", "\n")).paths
    if not paths:
        return described
    described.payload["path"] = described.payload["input"]["path"] = paths[0]
    described.payload["paths"] = list(paths)
    return described._replace(paths=paths)


def describe_code(text: str) -> Described:
    """Return what is kept of a script that calls tools: its beginning, and the patch inside it, if any.

    >>> describe_code("await tools.exec_command({cmd: 'ls'})").payload
    {'input': {'code': "await tools.exec_command({cmd: 'ls'})"}}
    """
    patch = describe_patch(text.replace("\\n", "\n")) if "*** Begin Patch" in text else Described({"input": {}})
    patch.payload["input"]["code"] = snippet(text, 500)
    return Described(
        patch.payload, patch.paths, _unique(_SKILL_FILE.findall(text) if "SKILL.md" in text else ()), patch.rules
    )


def _joined(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if type(value) is str:
        return value
    if type(value) is list and value and all(type(part) is str for part in value):
        # ["bash", "-lc", "the command"] says nothing before its last word.
        return str(value[-1]) if len(value) == 3 and value[1] in {"-lc", "-c"} else " ".join(value)
    return ""


def _progress(items: list[Any]) -> Json:
    states = [item.get("status") for item in items if type(item) is dict]
    return {"total": len(items), "done": sum(1 for state in states if type(state) is str and state in _DONE)}


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean(name) for name in names))
