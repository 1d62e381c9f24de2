"""Plans, frozen samples and frozen evaluations: what the `ka_` tables hold of an experiment, as JSON.

What the JSON means is the business of `experiments`. The writes belong inside a `Store.write` block, so that a
state and what it froze are committed together or not at all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kaizen_analytics.store.cells import parse_json
from kaizen_analytics.store.digests import digest, read_conclusion, write_digests

if TYPE_CHECKING:
    import polars as pl

    from kaizen_analytics.store.connection import Store


def write_plan(store: Store, experiment_id: str, plan: dict[str, Any], frozen_at_ms: int | None) -> None:
    """Insert or replace a plan; `frozen_at_ms` is set when the experiment starts.

    >>> import shutil
    >>> from kaizen_analytics.store.connection import Store
    >>> opened = Store.open(shutil.copy(store.path, tmp))
    >>> with opened.write():
    ...     write_plan(opened, "e1", {"alpha": 0.05}, None)
    >>> load_plan(opened, "e1")
    {'alpha': 0.05}
    """
    store.native(
        "insert into ka_plans (experiment_id, plan, frozen_at_ms) values (?, ?, ?) on conflict (experiment_id) "
        "do update set plan = excluded.plan, frozen_at_ms = excluded.frozen_at_ms returning 1",
        experiment_id,
        json.dumps(plan, ensure_ascii=False, allow_nan=False),
        frozen_at_ms,
    )


def load_plan(store: Store, experiment_id: str) -> dict[str, Any] | None:
    """Return the stored plan, or None for an experiment that this package did not make.

    >>> load_plan(store, "plan-first")["planned_n"]
    45
    """
    rows = store.native("select plan from ka_plans where experiment_id = ?", experiment_id)
    return parse_json(rows[0][0], "ka_plans", experiment_id) if rows else None


def write_result(
    store: Store,
    experiment_id: str,
    evaluation: dict[str, Any],
    sample: pl.DataFrame,
    concluded_at_ms: int,
) -> None:
    """Freeze an evaluation and its sample.

    Args:
        store: The open store.
        experiment_id: The experiment; nothing may be frozen under this id yet.
        evaluation: The evaluation as a JSON object.
        sample: Columns `session_id`, `variant`, `reason` and `sample` (one JSON object per session, as text).
        concluded_at_ms: When the experiment was concluded.

    >>> import shutil
    >>> import polars as pl
    >>> from kaizen_analytics.store.connection import Store
    >>> opened = Store.open(shutil.copy(store.path, tmp))
    >>> sample = pl.DataFrame({"session_id": ["s"], "variant": ["Control"], "reason": [None], "sample": ["{}"]})
    >>> with opened.write():
    ...     write_result(opened, "e1", {"verdict": "Inconclusive"}, sample, concluded_at_ms=0)
    >>> load_result(opened, "e1")
    {'verdict': 'Inconclusive'}
    """
    import polars as pl

    store.insert("ka_samples", sample.with_columns(pl.lit(experiment_id).alias("experiment_id")))
    store.native(
        "insert into ka_results (experiment_id, evaluation, concluded_at_ms) values (?, ?, ?) returning 1",
        experiment_id,
        json.dumps(evaluation, ensure_ascii=False, allow_nan=False),
        concluded_at_ms,
    )
    write_digests(store, "conclusion", {experiment_id: digest(read_conclusion(store, experiment_id))})


def load_result(store: Store, experiment_id: str) -> dict[str, Any] | None:
    """Return the frozen evaluation, or None for an experiment that is not frozen.

    >>> load_result(store, "no such experiment")
    """
    rows = store.native("select evaluation from ka_results where experiment_id = ?", experiment_id)
    return parse_json(rows[0][0], "ka_results", experiment_id) if rows else None


def load_sample(store: Store, experiment_id: str) -> list[dict[str, Any]]:
    """Return the frozen sample, one JSON object per session, in the order of session ids.

    >>> len(load_sample(store, "plan-first"))
    90
    """
    rows = store.native(
        "select sample from ka_samples where experiment_id = ? order by session_id",
        experiment_id,
    )
    return [parse_json(text, "ka_samples", experiment_id) for (text,) in rows]
