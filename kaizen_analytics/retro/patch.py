"""The change of a finding as a unified diff for `git apply`; nothing is written."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kaizen_analytics.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.retro.classes import Change

_INSTRUCTIONS = ("AGENTS.md", "CLAUDE.md")


def render_patch(change: Change, finding_id: str, root: Path) -> str:
    """Return the diff that applies a change to the files of a repository; empty where it is applied already.

    A line stands between two markers with the finding's id, in the file of instructions that the repository has.

    Args:
        change: What a finding proposes.
        finding_id: The finding's id.
        root: The repository's root on this machine.

    Raises:
        ConfigError: the change is a habit, or a file cannot be read, or is not the JSON that it is to be merged into.

    >>> from kaizen_analytics.retro.classes import Change
    >>> print(render_patch(Change(file="AGENTS.md", line="Run `make`."), "f-1", tmp), end="")
    diff --git a/AGENTS.md b/AGENTS.md
    new file mode 100644
    --- /dev/null
    +++ b/AGENTS.md
    @@ -0,0 +1,3 @@
    +<!-- kaizen f-1 -->
    +- Run `make`.
    +<!-- /kaizen f-1 -->
    """
    if change.habit:
        raise ConfigError(f"The finding {finding_id} proposes a habit, which no file holds: {change.habit}.")
    name = _choose_file(change, root)
    before = _read(root / name)
    after = (
        _merge(before, json.loads(change.merge), name)
        if change.merge
        else _insert(before or "", change.line, finding_id)
    )
    return "" if after == before else _diff(name, before, after)


def is_applied(change: Change, finding_id: str, root: Path) -> bool:
    """Return whether the files of a repository hold a change.

    >>> from kaizen_analytics.retro.classes import Change
    >>> is_applied(Change(file="AGENTS.md", line="Run `make`."), "f-1", tmp)
    False
    """
    if change.habit:
        return False
    if change.merge:
        before = _read(root / change.file)
        return before is not None and _merge(before, json.loads(change.merge), change.file) == before
    return any(_block(finding_id).search(_read(root / name) or "") for name in _INSTRUCTIONS)


def marker(finding_id: str) -> str:
    """Return the line before the block of a finding.

    >>> marker("f-1")
    '<!-- kaizen f-1 -->'
    """
    return f"<!-- kaizen {finding_id} -->"


def _choose_file(change: Change, root: Path) -> str:
    """Return the file to change: the proposed one, or the only file of instructions that exists, links followed."""
    name = change.file
    if not change.merge and not (root / name).exists():
        name = next((other for other in _INSTRUCTIONS if (root / other).exists()), name)
    inside, place = root.resolve(), (root / name).resolve()
    if not place.is_relative_to(inside):
        raise ConfigError(f"{root / name} is a link that leads out of the repository; nothing was changed.")
    return place.relative_to(inside).as_posix()


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8") if path.exists() else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}.") from error


def _insert(before: str, line: str, finding_id: str) -> str:
    end = _line_end(before)
    block = end.join([marker(finding_id), f"- {line}", _end(finding_id), ""])
    if found := _block(finding_id).search(before):
        return before[: found.start()] + block + before[found.end() :]
    gap = "" if not before else end if before.endswith("\n") else end * 2
    return before + gap + block


def _line_end(text: str) -> str:
    first, end, _ = text.partition("\n")
    return "\r\n" if end and first.endswith("\r") else "\n"


def _end(finding_id: str) -> str:
    return f"<!-- /kaizen {finding_id} -->"


def _block(finding_id: str) -> re.Pattern[str]:
    """Return what finds the block of a finding: its two markers with one item between them, and nothing else."""
    start, end = re.escape(marker(finding_id)), re.escape(_end(finding_id))
    return re.compile(rf"^{start}\r?\n- [^\n]*\n{end}\r?\n", re.MULTILINE)


def _merge(before: str | None, values: Mapping[str, Any], name: str) -> str:
    text = (before or "").removeprefix("\ufeff")
    try:
        document = json.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(
            f"{name} is not plain JSON ({error}); a patch would lose what it holds besides. Add to it by hand: "
            f"{json.dumps(values)}"
        ) from error
    if not isinstance(document, dict):
        raise ConfigError(f"{name} is not a JSON object; expected settings of an agent.")
    merged = _merged(document, values, name)
    if before and merged == document:
        return before
    indent = re.search(r"^[ \t]+(?=\")", text, re.MULTILINE)
    lines = json.dumps(merged, indent=indent[0] if indent else 2, ensure_ascii=False).replace("\n", _line_end(text))
    end = _line_end(text) if text.endswith("\n") or not text else ""
    return "\ufeff" * (text != (before or "")) + lines + end


def _merged(old: Any, new: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(old, dict) and isinstance(new, Mapping):
        return {**old, **{key: _merged(old.get(key), value, name) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list | tuple):
        return [*old, *(item for item in new if item not in old)]
    if old is not None and isinstance(new, Mapping | list | tuple):
        raise ConfigError(
            f"{name} holds {json.dumps(old)} where {json.dumps(new)} is to be added; nothing was changed."
        )
    return dict(new) if isinstance(new, Mapping) else list(new) if isinstance(new, tuple) else new


def _lines_of(text: str) -> list[str]:
    """Return the lines as git counts them: `str.splitlines` ends them at other characters as well."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _diff(name: str, before: str | None, after: str) -> str:
    head = [f"diff --git a/{name} b/{name}"] + (["new file mode 100644"] if before is None else [])
    lines = difflib.unified_diff(
        _lines_of(before or ""),
        _lines_of(after),
        "/dev/null" if before is None else f"a/{name}",
        f"b/{name}",
        lineterm="\n",
    )
    body = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return "\n".join(head) + "\n" + body
