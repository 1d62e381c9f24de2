"""Skills, rules and sub-agent definitions: what lies on disk, and how sessions with and without each of them went.

The files are read, never written. The comparison is an association: sessions that load a skill differ in their
tasks as well, so `guidance` proposes an experiment instead of a verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.git import Repository
from kaizen_analytics.retro.relations import SCHEMAS, Window, read_material

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kaizen_analytics.store import Store

BYTES_PER_TOKEN = 4
"""A rule of thumb for English prose."""

_PATTERNS = (
    ("skill", ".cursor/skills/*/SKILL.md"),
    ("skill", ".claude/skills/*/SKILL.md"),
    ("rule", ".cursor/rules/*.mdc"),
    ("agent", ".claude/agents/*.md"),
    ("instructions", "CLAUDE.md"),
    ("instructions", "AGENTS.md"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceItem:
    """One skill, rule, sub-agent or instruction file, and the sessions of the window that used it.

    `path` is None for guidance that sessions used but the repository does not hold. `sessions_used` is None for
    instructions, which agents read without a trace. Medians and shares are None without sessions.
    """

    kind: str
    name: str
    path: str | None
    bytes: int | None
    changed_ms: int | None
    sessions_used: int | None
    median_cost_with: float | None = None
    median_cost_without: float | None = None
    error_share_with: float | None = None
    error_share_without: float | None = None

    @property
    def tokens(self) -> int | None:
        """About how many tokens reading it takes."""
        return None if self.bytes is None else round(self.bytes / BYTES_PER_TOKEN)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "tokens": self.tokens}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """The guidance of one repository against the sessions of a window."""

    window: Window
    workspace: str | None
    sessions: int
    items: tuple[GuidanceItem, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "schema": "guidance/1",
            "window": {"start_ms": self.window.start_ms, "end_ms": self.window.end_ms},
            "workspace": self.workspace,
            "sessions": self.sessions,
            "items": [item.to_json() for item in self.items],
            "note": NOTE,
        }


NOTE = (
    "Costs and errors with and without a skill are an association, not an effect: sessions that load it have other "
    "tasks. An experiment tells the difference."
)


def read_guidance(root: Path | None) -> pl.DataFrame:
    """Return the guidance files under a repository's root; empty without one.

    Returns:
        Columns kind, name, path (relative), bytes, changed_ms (the last commit; for a file that git does not know,
        when it was last written).
    """
    if root is None:
        return pl.DataFrame(schema=SCHEMAS["guidance"])
    found = sorted(_find_files(root))
    repository = Repository.find(root)
    paths = [str(file.relative_to(root)) for _, file in found]
    committed = {} if repository is None or repository.root != root else repository.read_changes(paths)
    rows = [
        {
            "kind": kind,
            "name": _name(kind, file),
            "path": path,
            "bytes": file.stat().st_size,
            "changed_ms": committed.get(path, file.stat().st_mtime_ns // 1_000_000),
        }
        for (kind, file), path in zip(found, paths, strict=True)
    ]
    return pl.DataFrame(rows, schema=SCHEMAS["guidance"])


def compute_guidance(
    store: Store,
    window: Window,
    *,
    root: Path | None,
    workspace: str | None,
) -> Guidance:
    """Compare every skill, rule and sub-agent with the sessions that used it.

    Args:
        store: An open store.
        window: The sessions to look at.
        root: The repository whose files to list.
        workspace: Only sessions of this folder and below it; None for all.
    """
    files = read_guidance(root)
    material = read_material(store, window, workspace=workspace, lookback_start_ms=window.start_ms, guidance=files)
    sessions = material.relations["sessions"].select(pl.col("id").alias("session_id"), "root_id")
    uses = (
        material.relations["guidance_use"]
        .join(sessions, on="session_id")
        .select("kind", "name", pl.col("root_id").alias("session_id"))
        .unique()
    )
    metrics = material.relations["session_metrics"]
    known = [_item(row, uses, metrics) for row in files.iter_rows(named=True)]
    items = [*known, *_unknown_items(known, uses, metrics)]
    return Guidance(window=window, workspace=workspace, sessions=metrics.height, items=tuple(items))


def _find_files(root: Path) -> Iterator[tuple[str, Path]]:
    for kind, pattern in _PATTERNS:
        for file in root.glob(pattern):
            if file.is_file() and not file.is_symlink():
                yield kind, file


def _name(kind: str, file: Path) -> str:
    if kind == "skill":
        return file.parent.name
    return file.name if kind in {"rule", "instructions"} else file.stem


def _item(row: dict[str, Any], uses: pl.DataFrame, metrics: pl.DataFrame) -> GuidanceItem:
    if row["kind"] == "instructions":
        return GuidanceItem(**row, sessions_used=None)
    used = uses.filter((pl.col("kind") == row["kind"]) & (pl.col("name") == row["name"].lower()))
    return GuidanceItem(**row, **_compare(used["session_id"], metrics))


def _unknown_items(known: list[GuidanceItem], uses: pl.DataFrame, metrics: pl.DataFrame) -> Iterator[GuidanceItem]:
    names = {(item.kind, item.name.lower()) for item in known}
    instructions = {item.name.lower() for item in known if item.kind == "instructions"}
    for kind, name in uses.select("kind", "name").unique().sort("kind", "name").iter_rows():
        if (kind, name) not in names and not (kind == "rule" and name in instructions):
            used = uses.filter((pl.col("kind") == kind) & (pl.col("name") == name))
            yield GuidanceItem(
                kind=kind, name=name, path=None, bytes=None, changed_ms=None, **_compare(used["session_id"], metrics)
            )


def _compare(used: pl.Series, metrics: pl.DataFrame) -> dict[str, Any]:
    is_used = pl.col("session_id").is_in(used.implode())
    with_it, without_it = metrics.filter(is_used), metrics.filter(~is_used)
    return {
        "sessions_used": with_it.height,
        "median_cost_with": with_it["cost_per_session"].median(),
        "median_cost_without": without_it["cost_per_session"].median(),
        "error_share_with": _error_share(with_it),
        "error_share_without": _error_share(without_it),
    }


def _error_share(metrics: pl.DataFrame) -> float | None:
    mean = metrics["success_rate"].mean()
    return None if mean is None else 1.0 - float(mean)  # type: ignore[arg-type]
