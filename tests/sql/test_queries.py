"""Queries as frames: files, parameters and columns."""

import polars as pl
import pytest

from kaizen_analytics.core import queries, settings
from kaizen_analytics.core.errors import ConfigError, QueryError
from kaizen_analytics.core.queries import Query, _check_parameters, check_schema, find_parameters
from kaizen_analytics.core.settings import load_sql
from kaizen_analytics.store import Store

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


@pytest.mark.parametrize("name", ["SESSION_METRICS", "SESSION_METRICS_APART", "CANDIDATES", "VARIANT_VALUES"])
def test_every_declared_query_runs_on_an_empty_store(tmp_path, name: str) -> None:
    query: Query = getattr(queries, name)
    parameters = dict.fromkeys(find_parameters(query.text()), "$.x")
    with Store.open(tmp_path / "k.db", create=True) as store:
        assert query.run(store, **parameters).is_empty()


@pytest.mark.parametrize("path", ["staging/candidates.sql", "staging/variant_values.sql"])
def test_staging_files_are_read_from_where_the_package_lies(path: str) -> None:
    assert load_sql(path).startswith("-- purpose:")


def test_a_folder_that_the_installation_lacks_is_named() -> None:
    with pytest.raises(ConfigError, match="lacks the folder 'sequel'"):
        settings.find_folder("sequel")
