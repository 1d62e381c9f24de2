"""`judge`: the terminal, the page and JSON say the same, and nothing is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import ConfigError, RecordError

ROWS = [
    (arm, task, cost + task % 3 + 0.1 * (task % 2 and cost))
    for arm, cost in (("before", 9.0), ("after", 6.0))
    for task in range(9)
]
HOSTILE = "<script>alert(1)</script>\x1b[31m"


def judge(*words: object) -> str:
    answer = CliRunner().invoke(app, ["judge", *map(str, words)])
    if answer.exception is not None:
        raise answer.exception
    return answer.output.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    file = tmp_path / "runs.csv"
    file.write_text("arm,task,cost\n" + "".join(f"{arm},{task},{cost}\n" for arm, task, cost in ROWS))
    return file


def test_the_terminal_the_page_and_json_agree(runs: Path, tmp_path: Path):
    words = (runs, "--metric", "cost", "--direction", "decrease", "--target", "10%")
    told = judge(*words)
    assert told.startswith("after against before\nRuns from elsewhere · runs.csv\n\nLower with the change; the cause")
    assert "Paired by task, not randomised. Both arms ran the same 9 tasks." in told
    assert "session" not in told.replace("every session", "")
    page = tmp_path / "page.html"
    found = json.loads(judge(*words, "--json", "--output", page))
    assert (found["verdict"], found["headline"], found["grade"]) == ("met", "better", "concurrent")
    assert found["effect"]["percent"]["estimate"] == pytest.approx(-30, abs=3)
    assert "Lower with the change; the cause is not shown" in page.read_text()
    assert judge(*words, "--randomised").splitlines()[3] == "[✓] Ship"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["page.html", "runs.csv"]


def test_files_are_arms_where_nothing_else_tells_them_apart(runs: Path, tmp_path: Path):
    other = tmp_path / "new.csv"
    other.write_text(runs.read_text().replace(",9.0", ",8.0"))
    assert "new against runs" in judge(runs, other, "--arm", "file", "--control", "runs", "--metric", "cost")


def test_names_in_a_file_cannot_act_on_the_page_or_the_terminal(runs: Path, tmp_path: Path):
    runs.write_text(runs.read_text().replace("after", HOSTILE))
    page = tmp_path / "page.html"
    told = judge(runs, "--metric", "cost", "--output", page)
    assert "\x1b" not in told + page.read_text()
    assert "<script>" not in page.read_text()


def test_bad_files_and_options_are_our_errors(runs: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        judge(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="--statistic is 'mode'"):
        judge(runs, "--metric", "cost", "--statistic", "mode")
    runs.write_text("arm,cost\n")
    with pytest.raises(RecordError, match="holds no run"):
        judge(runs)
    other = tmp_path / "other.csv"
    other.write_text("arm,cost\na,x\n")
    with pytest.raises(ConfigError, match="has 1 value"):
        judge(other, "--metric", "cost", "--arm", "cost")
