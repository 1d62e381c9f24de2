"""`sync` on the command line: off by default, the preview, a run, the status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from endpoints import Endpoint, serve
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.errors import ConfigError
from kaizen_analytics.store import Store


@pytest.fixture
def path(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNC_TEST_TOKEN", "s3cret")
    store.close()
    return store.path


def call(path: Path, name: str, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["sync", name, "--store", str(path), *arguments], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def call_json(path: Path, name: str, *arguments: str) -> Any:
    return json.loads(call(path, name, *arguments, "--json"))


def test_configured_previewed_enabled_and_run(path: Path):
    with serve(Endpoint()) as endpoint:
        told = call(path, "configure", "--to", endpoint.url, "--token-env", "SYNC_TEST_TOKEN", "--batch-rows", "20")
        assert "is off" in told
        with pytest.raises(ConfigError, match="Sync is off"):
            call(path, "run")
        shown = call_json(path, "preview")
        text = call(path, "preview")
        assert endpoint.requests == []
        call(path, "configure", "--enable")
        assert call(path, "run") == "4 batches acknowledged, 50 rows acknowledged, 0 batches parked\n"
    sent = [(key, body.decode()) for key, body in endpoint.requests]
    assert [(one["headers"]["Idempotency-Key"], one["body"]) for one in shown["requests"]] == sent
    assert all(body in text for _, body in sent)
    assert "s3cret" not in text + json.dumps(shown)
    assert {headers["Authorization"] for headers in endpoint.headers} == {"Bearer s3cret"}
    status = call_json(path, "status")
    assert {row["table"]: row["acknowledged_rows"] for row in status["tables"]} == {
        "sessions": 25,
        "metrics": 25,
        "experiments": 0,
    }
    assert "rows acknowledged" in call(path, "status")


def test_the_preview_shows_the_headers_that_are_sent(path: Path):
    with serve(Endpoint()) as endpoint:
        call(path, "configure", "--to", endpoint.url, "--tables", "metrics", "--enable")
        [request] = call_json(path, "preview")["requests"]
        call(path, "run")
    [sent] = endpoint.headers
    assert request["headers"].items() <= sent.items()
    assert sent.keys() - request["headers"].keys() == {"Host", "Accept-Encoding", "Content-Length"}


def test_a_new_destination_starts_off(path: Path):
    call(path, "configure", "--to", "https://one.example/in", "--enable")
    assert call_json(path, "configure", "--to", "https://two.example/in")["enabled"] is False
    assert call_json(path, "configure", "--to", "https://two.example/in", "--enable")["enabled"] is True
    assert call_json(path, "configure", "--timeout", "5") == {
        "url": "https://two.example/in",
        "enabled": True,
        "tables": ["sessions", "metrics", "experiments"],
        "token_env": None,
        "key_file": None,
        "allow_http": False,
        "batch_rows": 500,
        "timeout_s": 5.0,
    }


def test_a_first_configuration_needs_a_destination(path: Path):
    with pytest.raises(ConfigError, match="name a destination with --to URL"):
        call(path, "configure", "--enable")


def test_a_lake_gets_its_files_once(path: Path, tmp_path: Path):
    from kaizen_analytics.lake import make_lake_key

    lake, key = tmp_path / "lake", tmp_path / "lake.key"
    make_lake_key(key)
    call(path, "configure", "--to", str(lake), "--key", str(key))
    planned = call_json(path, "preview")["files"]
    assert planned
    assert not lake.exists()
    call(path, "configure", "--enable")
    done = call_json(path, "run")
    assert done["files_written"] == len(planned)
    written = {str(file.relative_to(lake)) for file in lake.rglob("*.parquet")}
    assert {file["name"] for file in planned} <= written
    assert call_json(path, "run")["files_written"] == 0
    assert "sync preview" in call(path, "status")
