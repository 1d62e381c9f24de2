"""`export` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from canary_stores import CANARY, NOW_MS, find_canaries
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.exports.columns import TABLES
from kaizen_analytics.store import Store


@pytest.fixture
def path(canary_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("kaizen_analytics.cli.export.read_clock", lambda: NOW_MS)
    canary_store.close()
    return canary_store.path


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["export", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", ["sessions", "metrics", "experiments"])
def test_a_table_as_a_file_of_its_schema(path: Path, tmp_path: Path, name: str):
    target = tmp_path / f"{name}.parquet"
    said = json.loads(call(name, "--store", str(path), "--to", str(target), "--json"))
    frame = pl.read_parquet(target)
    assert frame.schema == TABLES[name]().schema
    assert said == {
        "schema": TABLES[name]().label,
        "rows": frame.height,
        "out": str(target),
        "bytes": target.stat().st_size,
    }
    assert find_canaries(target.read_bytes()) == []
    assert target.stat().st_mode & 0o777 == 0o600


def test_two_exports_are_equal_to_the_byte(path: Path):
    first, second = (call("metrics", "--store", str(path), "--to", "-", "--format", "csv") for _ in range(2))
    assert first == second


@pytest.mark.slow
def test_a_retro_to_paste_names_nothing_of_the_store(path: Path):
    text = call("retro", "--store", str(path), "--week", "2026-W40", "--to", "-", "--format", "md")
    assert "## Retro, week 2026-W40" in text
    assert CANARY not in text
    with_text = call("retro", "--store", str(path), "--week", "2026-W40", "--to", "-", "--format", "md", "--with-text")
    assert CANARY in with_text


def test_files_that_git_tracks_are_named(path: Path, tmp_path: Path):
    import subprocess

    root = tmp_path / "repository"
    (root / "src").mkdir(parents=True)
    (root / "src" / f"{CANARY}.md").write_text("")
    for command in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    with Store.open(path) as store:
        store.native("update sessions set workspace = ? returning 1", str(root))
        store.native("update events set payload = replace(payload, '/srv/zqcanary/shop', ?) returning 1", str(root))
    arguments = ("retro", "--store", str(path), "--workspace", str(root), "--week", "2026-W40", "--to", "-")
    rows = json.loads(call(*arguments, "--format", "json"))["rows"]
    [finding] = [row for row in rows if row["kind"] == "whole_file"]
    assert f"`src/{CANARY}.md`" in finding["change"]
    assert [row for row in rows if row["kind"] == "wrong_command" and CANARY in row["title"]] == []


def test_an_unknown_format_is_a_mistake_of_usage(path: Path):
    with pytest.raises(ConfigError, match=r"--format is 'marckdown'; expected one of md, json, csv, parquet"):
        call("sessions", "--store", str(path), "--to", "-", "--format", "marckdown")
