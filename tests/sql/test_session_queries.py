"""The queries of usage and sessions on an empty store: the promised columns, and no rows.

What they return on sessions is tested where it is used.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from kaizen_analytics import usage
from kaizen_analytics.core.queries import Query, find_parameters
from kaizen_analytics.outcomes import sessions as outcomes
from kaizen_analytics.retro import carrying
from kaizen_analytics.store import Store, frames

if TYPE_CHECKING:
    from pathlib import Path

QUERIES = {
    query.path: query
    for module in (usage, carrying, frames)
    for _, query in inspect.getmembers(module, lambda member: isinstance(member, Query))
}


@pytest.mark.parametrize(
    "path",
    [
        "usage/responses.sql",
        "usage/tool_calls.sql",
        "usage/loads.sql",
        "sessions/session_search.sql",
        "sessions/session_tree.sql",
        "sessions/tree_tools.sql",
    ],
)
def test_an_empty_store_gives_the_columns_and_no_rows(path: str, tmp_path: Path) -> None:
    query = QUERIES[path]
    texts = {"session_ids": "[]", "root_id": "x", "text": "x"}
    with Store.open(tmp_path / "store.db", create=True) as store:
        assert query.run(store, **{name: texts.get(name) for name in find_parameters(query.text())}).is_empty()


OUTCOMES = {
    "root_sessions": ["session_roots"],
    "shell_commands": ["events", "session_roots", "tool_results"],
    "stored_outcomes": [],
    "session_work": ["session_roots"],
}


@pytest.mark.parametrize(("name", "reads"), OUTCOMES.items())
def test_the_queries_of_outcomes_find_nothing_in_an_empty_store(name: str, reads: list[str], tmp_path: Path) -> None:
    given = {"session_ids": "[]", "since_ms": None, "folder": None}
    wanted = {"root_sessions": given, "stored_outcomes": {}}.get(name, {"session_ids": "[]"})
    with Store.open(tmp_path / "store.db", create=True) as store:
        assert outcomes._select(store, name, *reads, **wanted) == []
