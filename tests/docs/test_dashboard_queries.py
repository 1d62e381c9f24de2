"""The queries of docs/how-to/dashboards.md run on an export of the sample, and agree with it."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner

from kaizen_analytics.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "dashboards.md"
QUERIES = re.findall(r"\*\*(\w+)\*\*[^\n]*\n\n```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.slow
def test_the_queries_of_the_dashboards_run_on_an_export(sample_store: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path))
    folder = tmp_path / "dashboards"
    folder.mkdir()
    for table in ("metrics", "sessions", "experiments"):
        target = str(folder / f"{table}.parquet")
        done = CliRunner().invoke(app, ["export", table, "--to", target, "--store", str(sample_store)])
        assert done.exit_code == 0, done.output
    found = {name: duckdb.sql(query).pl() for name, query in QUERIES}
    metrics, sessions = pl.read_parquet(folder / "metrics.parquet"), pl.read_parquet(folder / "sessions.parquet")
    assert found["Grafana"].schema["time"] == pl.Datetime("us")
    assert found["Grafana"]["cost_usd"].sum() == pytest.approx(metrics["cost_per_session"].sum())
    assert found["Superset"]["sessions"].sum() == sessions.height
    assert found["Superset"]["cost_usd"].sum() == pytest.approx(sessions["cost_usd"].sum())
    assert found["Superset"]["new_tokens"].sum() == metrics["tokens_per_session"].sum()
    assert found["Superset"]["failures_per_call"].is_between(0, 1).all()
    assert found["dbt"].height == 3
    assert found["dbt"]["change"].is_between(found["dbt"]["change_low"], found["dbt"]["change_high"]).all()
