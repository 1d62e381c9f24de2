"""Queries as frames: files, parameters and columns."""

import inspect
from collections.abc import Iterator

import polars as pl
import pytest

from kaizen_analytics import usage
from kaizen_analytics.core import queries, settings
from kaizen_analytics.core.errors import ConfigError, QueryError
from kaizen_analytics.core.queries import Query, _check_parameters, check_schema, find_parameters
from kaizen_analytics.core.settings import load_sql
from kaizen_analytics.experiments import sample
from kaizen_analytics.outcomes import sessions as outcomes
from kaizen_analytics.retro import guidance
from kaizen_analytics.store import Store, frames

SCHEMA = {"a": pl.Int64(), "b": pl.String()}


def test_a_missing_query_is_answered_with_a_similar_one() -> None:
    with pytest.raises(QueryError, match=r"Did you mean 'session_metrics\.sql'"):
        load_sql("marts/session_metric.sql")


def test_parameters_in_comments_and_texts_do_not_count() -> None:
    assert find_parameters("select $a, '$b' -- $c\nfrom t where x = $d_1 and y = '$.e'") == {"a", "d_1"}


def test_parameters_must_be_exactly_those_of_the_query() -> None:
    _check_parameters("x.sql", "select $since_ms", {"since_ms": 1})
    with pytest.raises(QueryError, match=r"needs a value for \$since_ms"):
        _check_parameters("x.sql", "select $since_ms", {})
    with pytest.raises(QueryError, match=r"no parameter \$since\. Did you mean 'since_ms'"):
        _check_parameters("x.sql", "select $since_ms", {"since": 1})


def test_columns_that_differ_from_the_declaration_are_all_named() -> None:
    check_schema("x.sql", pl.DataFrame({"a": [1], "b": ["x"]}), SCHEMA)
    with pytest.raises(QueryError, match="a is String, expected Int64") as caught:
        check_schema("x.sql", pl.DataFrame({"a": ["x"], "c": [1]}), SCHEMA)
    assert "b is missing" in str(caught.value)
    assert "c is not declared" in str(caught.value)


QUERIES = {
    query.path: query
    for module in (queries, usage, guidance, frames, sample)
    for _, query in inspect.getmembers(module, lambda member: isinstance(member, Query))
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("empty") / "store.db", create=True) as store:
        yield store


@pytest.mark.parametrize(
    "path",
    [
        *("marts/session_metrics.sql", "staging/candidates.sql", "staging/variant_values.sql"),
        *("usage/responses.sql", "usage/tool_calls.sql", "usage/loads.sql"),
        *("sessions/session_search.sql", "sessions/session_tree.sql", "sessions/tree_tools.sql"),
    ],
)
def test_an_empty_store_gives_the_columns_and_no_rows(empty: Store, path: str) -> None:
    texts = {"session_ids": "[]", "root_id": "x", "text": "x", "json_path": "$.x"}
    query = QUERIES[path]
    assert query.run(empty, **{name: texts.get(name) for name in find_parameters(query.text())}).is_empty()


OUTCOMES = {
    "root_sessions": ["session_roots"],
    "shell_commands": ["events", "session_roots", "tool_results"],
    "stored_outcomes": [],
    "session_work": ["session_roots"],
}


@pytest.mark.parametrize(("name", "reads"), OUTCOMES.items())
def test_the_queries_of_outcomes_find_nothing_in_an_empty_store(empty: Store, name: str, reads: list[str]) -> None:
    given = {"session_ids": "[]", "since_ms": None, "folder": None}
    wanted = {"root_sessions": given, "stored_outcomes": {}}.get(name, {"session_ids": "[]"})
    assert outcomes._select(empty, name, *reads, **wanted) == []


def test_a_folder_that_the_installation_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="lacks the folder 'sequel'"):
        settings.find_folder("sequel")
