"""The command `usage`: equal to the rows of the store, at any width."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.outcomes.sessions import update_outcomes
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., str]


@pytest.fixture
def run(sample_store: Path, program: Callable[..., Any]) -> Run:
    """Return a function that runs `usage` on the sample and returns what it prints."""

    def call(*arguments: str, code: int = 0) -> str:
        answer = program("usage", "--store", sample_store, *arguments)
        assert answer.code == code, answer.err
        return answer.out

    return call


def sums_of_events(store: Path, key: str) -> dict[str, tuple[int, int]]:
    """Return responses and cost by a key, straight from SQLite."""
    sql = (
        f"select {key}, count(*), sum(e.cost_usd_e6) from events e join sessions s on s.id = e.session_id where "
        "coalesce(tokens_in, cache_creation_tokens, cache_read_tokens, tokens_out, reasoning_tokens) is not null "
        "group by 1"
    )
    with closing(sqlite3.connect(store)) as connection:
        return {name: (count, cost) for name, count, cost in connection.execute(sql)}


KEYS = {
    "model": "coalesce(json_extract(e.payload, '$.model'), s.model)",
    "agent": "s.agent",
    "workspace": "s.workspace",
    "branch": "s.branch",
    "month": "strftime('%Y-%m-01', e.ts_ms / 1000, 'unixepoch')",
    "day": "strftime('%Y-%m-%d', e.ts_ms / 1000, 'unixepoch')",
}


@pytest.mark.parametrize(("by", "key"), KEYS.items())
def test_usage_equals_the_sums_over_events(run: Run, sample_store: Path, by: str, key: str) -> None:
    answer = json.loads(run("--by", by, "--timezone", "UTC", "--json"))
    found = {row[by]: (row["responses"], round(row["cost_usd"] * 1e6)) for row in answer["usage"]}
    assert found == sums_of_events(sample_store, key)
    assert answer["total"]["responses"] == sum(count for count, _ in found.values())


@pytest.mark.slow
@pytest.mark.skipif("KAIZEN_TEST_TRANSCRIPTS" not in os.environ, reason="needs KAIZEN_TEST_TRANSCRIPTS=FOLDER")
def test_usage_of_real_sessions_equals_the_sums_over_events(run: Run, tmp_path: Path) -> None:
    store = tmp_path / "real.db"
    with Store.open(store, create=True) as opened:
        run_ingest(opened, [Path(os.environ["KAIZEN_TEST_TRANSCRIPTS"]) / "home"], environment={})
        update_outcomes(opened, now_ms=1_800_000_000_000)
    # a sub-agent's responses count with the session that started it, which has the pull request
    root = "with recursive up(id, at) as (values (s.id, s.id) union all select up.id, p.parent_session_id from up "
    root += "join sessions p on p.id = up.at join sessions q on q.id = p.parent_session_id) select at from up"
    request = f"(select pull_request from ka_outcomes where session_id in ({root}) and pull_request is not null)"
    for by, key in {**KEYS, "pull_request": request}.items():
        answer = json.loads(run("--by", by, "--timezone", "UTC", "--json", "--store", str(store)))
        found = {row[by]: (row["responses"], round((row["cost_usd"] or 0) * 1e6)) for row in answer["usage"]}
        expected = {name: (count, cost or 0) for name, (count, cost) in sums_of_events(store, key).items()}
        assert found == expected, by
    assert len(expected) > 2, "some sessions have a pull request"


@pytest.mark.parametrize("by", ["day", "month,model", "workspace", "session", "tool"])
def test_a_table_fits_the_terminal_and_breaks_no_number(run: Run, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    numbers = {cell for line in run("--by", by).splitlines() for cell in line.split()}
    for width in (60, 80, 120):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = run("--by", by).splitlines()
        assert max(map(len, lines)) <= width
        assert all(cell in numbers for line in lines[1:] for cell in line.split() if cell.replace(",", "").isdigit())


def test_csv_and_json_hold_the_same_rows(run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("--by", "agent", "--csv"))))
    answer = json.loads(run("--by", "agent", "--json"))
    assert [row["agent"] for row in rows] == [row["agent"] for row in answer["usage"]]
    assert [float(row["cost_usd"]) for row in rows] == [row["cost_usd"] for row in answer["usage"]]


def test_sorting_by_cost_puts_the_dearest_first(run: Run) -> None:
    costs = [row["cost_usd"] for row in json.loads(run("--by", "session", "--sort", "cost", "--json"))["usage"]]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) > 100


def test_a_budget_that_will_be_passed_has_its_own_exit_code(run: Run) -> None:
    period = ("--since", "2026-01-01", "--until", "2027-01-01")
    assert "will be passed" in run(*period, "--budget", "0.01", code=3)
    found = json.loads(run(*period, "--budget", "1000000", "--json"))
    assert found["spent_usd"] <= found["forecast_usd"] < found["budget_usd"]
    assert not found["will_be_passed"]


@pytest.mark.parametrize(
    "arguments",
    [("--by", "modle"), ("--sort", "price"), ("--timezone", "Mars/Base"), ("--last", "7d", "--since", "2026-01-01"),
     ("--since", "2026-02-01", "--until", "2026-01-01")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(run: Run, arguments: tuple[str, ...]) -> None:
    run(*arguments, code=2)
