"""The queries of usage, outcomes and sessions on an empty store: the promised columns, and no rows.

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
    for module in (usage, carrying, outcomes, frames)
    for _, query in inspect.getmembers(module, lambda member: isinstance(member, Query))
}


@pytest.mark.parametrize(
    "path",
    [
        "usage/responses.sql",
        "usage/tool_calls.sql",
        "usage/loads.sql",
        "outcomes/root_sessions.sql",
        "outcomes/shell_commands.sql",
        "outcomes/stored_outcomes.sql",
        "outcomes/session_work.sql",
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
