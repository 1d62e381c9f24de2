"""What agents are told in a repository, which sessions used it, and what carrying it costs.

The files are read, never written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core import codec
from kaizen_analytics.core.git import Repository
from kaizen_analytics.core.model import Window
from kaizen_analytics.core.queries import Query, columns
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.retro.material import list_servers, read_material, read_responses
from kaizen_analytics.usage import known_sum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kaizen_analytics.store import Store
    from kaizen_analytics.usage import Chosen

_BYTES_PER_TOKEN = 4
"""A rule of thumb for English prose."""

_PATTERNS = (
    ("instructions", True, "CLAUDE.md"),
    ("instructions", True, "AGENTS.md"),
    ("instructions", True, ".github/copilot-instructions.md"),
    ("rule", True, ".claude/rules/*.md"),
    ("rule", False, ".cursor/rules/*.mdc"),
    ("skill", False, ".claude/skills/*/SKILL.md"),
    ("skill", False, ".cursor/skills/*/SKILL.md"),
    ("skill", False, ".agents/skills/*/SKILL.md"),
    ("skill", False, ".github/skills/*/SKILL.md"),
    ("agent", False, ".claude/agents/*.md"),
    ("command", False, ".claude/commands/*.md"),
)
"""Kind, whether every session reads the whole of it, and where it lies."""

_USES = Query(path="retro/guidance_use.sql", schema=columns(text="session_id kind name"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceItem:
    """One thing that agents are told.

    `is_always_read` says whether every session carries it; then `usd_per_week` is what carrying it costs, None without
    prices. `sessions_used` is None for instructions, which agents read without a trace. `tokens` and `changed_ms` are
    None for servers, and for what sessions used but the repository does not hold (`path` is None then).
    """

    kind: str
    name: str
    path: str | None = None
    tokens: int | None = None
    is_always_read: bool = False
    changed_ms: int | None = None
    sessions_used: int | None
    usd_per_week: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guidance:
    """The guidance of one repository against the sessions of a window."""

    window: Window
    repository: str | None
    sessions: int
    items: tuple[GuidanceItem, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"schema": "guidance/2", **codec.plain(self)}


def compute_guidance(store: Store, window: Window, *, root: Path | None, repository: str | None) -> _Guidance:
    """Return what agents are told, and which sessions of a window used it.

    Args:
        store: An open store.
        window: The sessions to look at.
        root: The repository whose files to list; None for none.
        repository: Only sessions of this folder, those below it and its worktrees; None for all.

    >>> from kaizen_analytics.core.model import Window
    >>> compute_guidance(store, Window(start_ms=0, end_ms=1), root=None, repository=None).items
    ()
    """
    material = read_material(store, window, repository=repository)
    owners = material.sessions.select("session_id", "root_id")
    used = _USES.run(store).join(owners, on="session_id").select("kind", "name", "root_id").unique()
    # What one more token in every context would have cost.
    weekly = float(material.responses["read_usd"].sum() or 0.0) / (window.length_ms / (7 * DAY_MS))
    items = [] if root is None else [*_list_items(root, used, weekly)]
    known = {(item.kind, item.name.lower()) for item in items}
    files = {item.name.lower() for item in items if item.kind == "instructions"}
    for kind, name in used.select("kind", "name").unique().sort("kind", "name").iter_rows():
        if (kind, name) not in known and name not in files:
            items.append(GuidanceItem(kind=kind, name=name, sessions_used=_count(kind, name, used)))
    roots = material.sessions["root_id"].n_unique()
    return _Guidance(window=window, repository=repository, sessions=roots, items=tuple(items))


def _list_items(root: Path, used: pl.DataFrame, weekly_usd: float) -> Iterator[GuidanceItem]:
    found = [
        (kind, always, file)
        for kind, always, pattern in _PATTERNS
        for file in sorted(root.glob(pattern))
        if file.is_file() and not file.is_symlink()
    ]
    repository = Repository.find(root)
    paths = [str(file.relative_to(root)) for _, _, file in found]
    committed = {} if repository is None or repository.root != root else repository.read_changes(paths)
    for (kind, always, file), path in zip(found, paths, strict=True):
        tokens = round(file.stat().st_size / _BYTES_PER_TOKEN)
        name = file.parent.name if kind == "skill" else file.name if kind in {"rule", "instructions"} else file.stem
        yield GuidanceItem(
            kind=kind,
            name=name,
            path=path,
            tokens=tokens,
            is_always_read=always,
            changed_ms=committed.get(path, file.stat().st_mtime_ns // 1_000_000),
            sessions_used=_count(kind, name, used),
            usd_per_week=tokens * weekly_usd if always and weekly_usd else None,
        )
    for name in list_servers(root):
        used_in = _count("server", name, used)
        yield GuidanceItem(kind="server", name=name, path=".mcp.json", is_always_read=True, sessions_used=used_in)


def _count(kind: str, name: str, used: pl.DataFrame) -> int | None:
    """Return the sessions that used something; None for instructions, which leave no trace."""
    if kind == "instructions":
        return None
    return used.filter((pl.col("kind") == kind) & (pl.col("name") == name.lower()))["root_id"].n_unique()


# What it costs to carry the texts of skills and of servers' tools: each later response reads them again.
#
# A text stays in the context until it is compacted. Its first reader pays the price of writing it to the cache, every
# later one that of reading it. A token is taken as four characters. The definitions of tools are in no transcript, so
# they are not in these figures.

KINDS = ("skill", "mcp_server")
"""What texts are carried of."""

_LOADS = Query(
    path="usage/loads.sql",
    schema=columns(text="session_id root_id item", whole="seq ts_ms chars"),
    reads={"session_roots": "staging/session_roots.sql", "tool_results": "staging/tool_results.sql"},
)
"""Every text that a skill, or the tool of a server, put into a context."""

_CHARS_PER_TOKEN = 4


def compute_carried(store: Store, kind: str, chosen: Chosen) -> pl.DataFrame:
    """Return one row per skill or server, the dearest first.

    Columns: the kind, `uses` (texts loaded), `sessions`, `tokens` (of the texts, null where no size is recorded),
    `carried_tokens` (the same, times the responses that read them) and `cost_usd` (null without a price).

    Args:
        store: The open store.
        kind: One of `KINDS`.
        chosen: Which loads count.

    >>> from kaizen_analytics.usage import Chosen
    >>> compute_carried(store, "skill", Chosen()).columns
    ['skill', 'uses', 'sessions', 'tokens', 'carried_tokens', 'cost_usd']
    """
    loads = chosen.read(_LOADS, store, kind=kind)
    responses = read_responses(store, loads["session_id"].unique().to_list())
    carried = _carry(loads, responses)
    return (
        carried.group_by(pl.col("item").alias(kind))
        .agg(
            pl.len().cast(pl.Int64).alias("uses"),
            pl.col("root_id").n_unique().cast(pl.Int64).alias("sessions"),
            *(known_sum(name) for name in ("tokens", "carried_tokens", "cost_usd")),
        )
        .sort("cost_usd", "uses", kind, descending=[True, True, False], nulls_last=True)
    )


def _carry(loads: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Add to each load its tokens, those that responses read of it until the next compaction, and their dollars."""
    later = (
        responses.sort("session_id", "seq", descending=[False, True])
        .with_columns(
            pl.int_range(1, pl.len() + 1).over("session_id", "segment").alias("readers"),
            pl.col("read_usd").cum_sum().over("session_id", "segment").alias("reads_usd"),
        )
        .select(
            "session_id",
            "seq",
            "readers",
            first_usd=pl.coalesce("write_usd", "input_usd"),
            later_usd=pl.col("reads_usd") - pl.col("read_usd"),
        )
        .sort("seq")
    )
    found = loads.sort("seq").join_asof(
        later, on="seq", by="session_id", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    tokens = pl.col("chars") // _CHARS_PER_TOKEN
    return found.with_columns(
        tokens=tokens,
        carried_tokens=tokens * pl.col("readers").fill_null(0),
        cost_usd=pl.when(pl.col("readers").is_null())
        .then(0.0)
        .otherwise(tokens * (pl.col("first_usd") + pl.col("later_usd"))),
    )
