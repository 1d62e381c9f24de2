"""A columnar copy of what analysis needs of a store: derived, disposable, and never older than the store.

`stamps` tells from `stat` whether the store changed, `extraction` reads from the store, `parts` keeps events in
Parquet, `rollup` computes every metric of every session, `build` puts them together, `manifest` publishes the result
in one step, and `mirror` answers from it. docs/scale.md says what is noticed, and how.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.columnar.mirror import Mirror, clear_mirror, read_mirror, refresh

if TYPE_CHECKING:
    import polars as pl

    from kaizen_analytics.engines import Engine
    from kaizen_analytics.store import Store

__all__ = ["Mirror", "clear_mirror", "read_mirror", "refresh", "session_metrics"]


def session_metrics(
    store: Store | Path,
    *,
    rollup: bool = True,
    root: Path | None = None,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """Return every metric of every session: the columns of sql/marts/session_metrics.sql, ordered by session id.

    The first call after a change of the store brings the mirror up to date; the others answer in milliseconds.

    Args:
        store: A store, open or by its path. An open store must not be inside `Store.write`: the mirror reads what is
            committed.
        rollup: Count sub-agents with the session that started them; otherwise one row for each session.
        root: The folder of all mirrors; by default that of the environment.
        engine: Compute the metrics there, from the mirror's files; by default they are read, ready-made.

    Raises:
        StoreError: the store is missing or damaged.
    """
    path = store if isinstance(store, Path) else store.path
    name = "metrics" if rollup else "metrics_apart"
    if engine is None:
        return read_mirror(path, lambda mirror: mirror.table(name), root=root)
    return read_mirror(path, lambda mirror: mirror.compute_metrics(name, engine), root=root)
