"""Engines: the same portable query gives the same frame everywhere, and nothing else is reachable."""

import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from kaizen_analytics.core.errors import ConfigError, QueryError
from kaizen_analytics.core.settings import find_folder, load_sql
from kaizen_analytics.exports.engines import EmbeddedEngine, Engine, ParquetFiles, _SparkEngine, choose_engine

NUMBERS = pl.DataFrame({"a": [1, 2, 3], "b": [0.5, None, 2.0], "c": ["x", None, "z"]})


@pytest.fixture(params=["duckdb", pytest.param("spark", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue("spark") if request.param == "spark" else EmbeddedEngine()


def test_a_query_reads_frames(engine: Engine) -> None:
    rows = engine.run(
        "select t.a, t.b, u.d from t inner join u on t.a = u.a", {"t": NUMBERS, "u": NUMBERS.select("a", d="c")}
    )
    assert rows.sort("a").rows() == [(1, 0.5, "x"), (2, None, None), (3, 2.0, "z")]


def test_a_query_reads_files(engine: Engine, tmp_path: Path) -> None:
    for name in ("one", "two"):
        NUMBERS.write_parquet(tmp_path / f"{name}.parquet")
    files = ParquetFiles((tmp_path / "one.parquet", tmp_path / "two.parquet"))
    assert engine.run("select count(*) as n from t", {"t": files}).item() == 6


def test_an_empty_frame_keeps_its_types(engine: Engine) -> None:
    rows = engine.run("select a, b from t", {"t": NUMBERS.clear()})
    assert dict(rows.schema) == {"a": pl.Int64, "b": pl.Float64}


def test_a_wrong_query_is_an_error(engine: Engine) -> None:
    with pytest.raises(QueryError, match="nowhere"):
        engine.run("select * from nowhere", {})


def test_one_run_leaves_nothing_for_the_next(engine: Engine) -> None:
    engine.run("select a from t", {"t": NUMBERS})
    with pytest.raises(QueryError):
        engine.run("select a from t", {})


def test_no_other_file_can_be_read_or_written(tmp_path: Path) -> None:
    NUMBERS.write_parquet(tmp_path / "secret.parquet")
    NUMBERS.write_parquet(tmp_path / "given.parquet")
    engine = EmbeddedEngine()
    given = {"t": ParquetFiles((tmp_path / "given.parquet",))}
    for sql in (
        f"select * from read_parquet('{tmp_path}/secret.parquet')",
        f"select * from read_text('{tmp_path}/secret.parquet')",
        f"copy (select 1) to '{tmp_path}/new.parquet'",
        f"attach '{tmp_path}/new.db'",
        "install sqlite",
        "load sqlite",
        "set enable_external_access = true",
    ):
        with pytest.raises(QueryError):
            engine.run(sql, given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.parquet", "secret.parquet"]


def test_a_query_that_needs_more_memory_spills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kaizen_analytics.exports.engines._MEMORY_LIMIT_MB", 120)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sql = "select count(*) as n from (select hash(range) as h, repeat('x', 20) from range(3000000) order by 1, 2)"
    assert EmbeddedEngine().run(sql, {}).item() == 3_000_000
    assert list(tmp_path.iterdir()) == []


def test_an_engine_is_chosen_by_name() -> None:
    assert choose_engine(None, None) == choose_engine("duckdb", None) == EmbeddedEngine()
    assert choose_engine("spark", "sc://h:1") == _SparkEngine("sc://h:1")
    with pytest.raises(ConfigError, match="--spark-remote"):
        choose_engine("spark", None)
    with pytest.raises(ConfigError, match="--engine spark"):
        choose_engine("duckdb", "sc://h:1")
    with pytest.raises(ConfigError, match="expected sc://"):
        choose_engine("spark", "http://h")


# Every mart with relations that bring all of its branches to life.
EVENT_COLUMNS = {
    "session_id": pl.Int32,
    "seq": pl.Int64,
    "ts_ms": pl.Int64,
    "ts_exact": pl.Int64,
    "kind": pl.String,
    "tool": pl.String,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
    "reasoning_tokens": pl.Int64,
    "cache_creation_tokens": pl.Int64,
    "cache_read_tokens": pl.Int64,
    "cost_usd_e6": pl.Int64,
    "message_role": pl.String,
    "is_prompt": pl.Int32,
    "is_unreliable": pl.Int32,
    "is_error": pl.Int32,
}


def make_events(session: int) -> list[dict[str, object]]:
    kinds = ["Message", "Message", "ToolCall", "ToolResult", "ToolCall", "Error", "Hook"]
    rows = []
    for seq in range(session % 4 * 7):
        kind = kinds[(seq + session) % 7]
        row = {"session_id": session, "seq": seq, "ts_ms": seq * (session + 1) * 40_000, "ts_exact": seq % 3 and 1}
        if kind == "Message" and seq % 2:
            usage = {"tokens_in": 7 * seq, "tokens_out": seq, "cost_usd_e6": seq if session % 5 else None}
            row |= {**usage, "cache_read_tokens": session, "message_role": "assistant", "is_unreliable": seq % 2}
        elif kind == "Message":
            row |= {"message_role": "user", "is_prompt": 1}
        tool = "ab"[seq % 2] if seq % 5 else None
        rows.append({**row, "kind": kind, "tool": tool, "is_error": seq % 2 if kind == "ToolResult" else None})
    return rows


def make_relations() -> dict[str, pl.DataFrame]:
    numbers = range(40)
    return {
        "sessions": pl.DataFrame(
            {
                "id": numbers,
                "agent": "codex",
                "model": [None if n % 3 else "m" for n in numbers],
                "workspace": "/w",
                "started_at_ms": [n * 1_000 for n in numbers],
                "ended_at_ms": [None if n % 4 == 0 else n * 90_000 for n in numbers],
            },
            schema_overrides={"id": pl.Int32},
        ),
        "session_roots": pl.DataFrame(
            {"session_id": numbers, "root_id": [n - n % 3 for n in numbers]},
            schema={"session_id": pl.Int32, "root_id": pl.Int32},
        ),
        "root_outcomes": pl.DataFrame(
            {
                "session_id": numbers,
                "checks_passed": [float(n % 2) for n in numbers],
                "n_commits": [float(n % 4) for n in numbers],
                "landed": [float(n % 2) for n in numbers],
                "reverted": [float(n % 5 == 0) for n in numbers],
                "lines_added": [n * 10.0 for n in numbers],
                "lines_surviving": [n * 7.0 for n in numbers],
                "score": [float(n % 5 + 1) for n in numbers],
            },
            schema_overrides={"session_id": pl.Int32},
        ),
        "files_touched": pl.DataFrame(
            {"session_id": [n // 2 for n in numbers], "path": [f"{n % 7}.py" for n in numbers]},
            schema_overrides={"session_id": pl.Int32},
        ),
        "staged_events": pl.DataFrame([row for n in numbers for row in make_events(n)], schema=EVENT_COLUMNS),
    }


MARTS = sorted(path.name for path in (find_folder("sql") / "marts").glob("*.sql"))


@pytest.mark.parametrize("mart", MARTS)
def test_every_mart_gives_the_same_frame_on_spark(mart: str, spark: _SparkEngine) -> None:
    sql, relations = load_sql(f"marts/{mart}"), make_relations()
    embedded = EmbeddedEngine().run(sql, relations)
    told = [column for column in embedded.columns if column != "finding_rate"]  # the sample of an experiment has it
    assert all(embedded[column].drop_nulls().len() for column in told)
    assert_frame_equal(spark.run(sql, relations), embedded, check_row_order=False, check_exact=True)


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    with pytest.raises(ConfigError, match=r"needs the extra 'spark': pip install 'kaizen_analytics\[spark\]'"):
        _SparkEngine("sc://h:1").run("select 1", {})


def test_a_server_that_is_not_there_is_an_error() -> None:
    if find_spec("pyspark") is None:
        pytest.skip("needs the extra 'spark'")
    for wrong in ("sc://127.0.0.1:1/;token=secret", "sc://127.0.0.1:x/;token=secret"):
        with pytest.raises(QueryError, match="No Spark Connect server answers") as caught:
            _SparkEngine(wrong).run("select 1", {})
        assert "secret" not in str(caught.value)
