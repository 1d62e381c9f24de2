"""`retro …`, `guidance` and `exp new --from-finding` on the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from retro_stores import MONDAY_MS, add_week
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import ConfigError, ExperimentError, KaizenError
from kaizen_analytics.store import Store
from kaizen_analytics.store.retros import list_findings

WEEK = ("--week", "2026-W40", "--timezone", "UTC")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture
def path(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kaizen.db"
    with Store.open(file, create=True) as store:
        add_week(store, MONDAY_MS, wrong=8, right=2, workspace=str(root))
    return file


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, KaizenError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def stored(path: Path) -> list[str]:
    with Store.open(path) as store:
        return [finding.id for finding in list_findings(store)]


def test_a_retro_is_printed_and_stored(path: Path):
    text = run("retro", "--store", path, *WEEK)

    assert "rtk bun test does not work here; bun test does" in text
    (finding,) = stored(path)
    assert finding in text


def test_a_dry_run_stores_nothing(path: Path):
    document = json.loads(run("retro", "--store", path, *WEEK, "--dry-run", "--json"))

    assert [finding["kind"] for finding in document["findings"]] == ["wrong_command"]
    assert stored(path) == []


@pytest.mark.slow
def test_the_page_loads_nothing(path: Path, tmp_path: Path):
    out = tmp_path / "out"

    run("retro", "--store", path, *WEEK, "--format", "md,html,json", "--out", out)

    assert {file.suffix for file in out.iterdir()} == {".md", ".html", ".json"}
    page = next(out.glob("*.html")).read_text()
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<code>bun test</code>" in page


def test_the_loop_from_a_finding_to_its_patch(path: Path, root: Path):
    run("retro", "--store", path, *WEEK)
    (finding,) = stored(path)

    shown = run("retro", "show", finding[:8], "--store", path)
    patch = run("retro", "show", finding, "--patch", "--store", path)
    subprocess.run(["git", "-C", str(root), "apply"], input=patch, text=True, check=True)

    assert "8 times in 8 of 10 sessions that ran commands" in shown
    assert "Run `bun test`, not `rtk bun test`" in (root / "CLAUDE.md").read_text()


def test_a_patch_needs_the_repository(path: Path, tmp_path: Path):
    with Store.open(path) as store:
        add_week(store, MONDAY_MS + 1, wrong=8, right=0, workspace="/gone/shop")
    run("retro", "--store", path, *WEEK, "--repository", "/gone/shop")
    (finding,) = stored(path)

    with pytest.raises(ConfigError, match="name the repository's folder with --repository"):
        run("retro", "show", finding, "--patch", "--store", path)
    assert "+++ b/CLAUDE.md" in run("retro", "show", finding, "--patch", "--store", path, "--repository", tmp_path)


def test_a_finding_is_declined_with_a_reason(path: Path):
    run("retro", "--store", path, *WEEK)
    (finding,) = stored(path)

    assert f"Declined {finding}." in run("retro", "decline", finding, "--reason", "soon gone", "--store", path)
    text = run("retro", "--store", path, *WEEK)
    assert "Nothing recurs that is worth a change." in text
    assert "soon gone" in text


def test_a_finding_becomes_an_experiment_by_lot_once(path: Path):
    run("retro", "--store", path, *WEEK)
    (finding,) = stored(path)

    document = json.loads(run("exp", "new", "--from-finding", finding, "--store", path, "--json"))

    assert document["finding"] == finding
    assert document["plan"]["randomisation"]["unit"] == "session"
    with pytest.raises(ExperimentError, match="already has the experiment"):
        run("exp", "new", "--from-finding", finding, "--store", path)


def test_what_is_given_goes_before_what_a_finding_proposes(path: Path):
    run("retro", "--store", path, *WEEK)
    (finding,) = stored(path)

    arguments = ("--metric", "cost_per_session", "--target-pct", "-5", "--hypothesis", "mine")
    document = json.loads(run("exp", "new", "--from-finding", finding, *arguments, "--store", path, "--json"))

    assert document["experiment"]["metric"] == "CostPerSession"
    assert document["experiment"]["hypothesis"] == f"mine ({finding})"


def test_two_windows_are_one_too_many(path: Path):
    with pytest.raises(ConfigError, match="give one of them"):
        run("retro", "--store", path, "--days", "3", "--week", "2026-W40")


def test_guidance_lists_what_agents_are_told(path: Path, root: Path):
    (root / "CLAUDE.md").write_text("c" * 400)

    text = run("guidance", "--store", path, "--workspace", root)
    document = json.loads(run("guidance", "--store", path, "--workspace", root, "--json"))

    assert "CLAUDE.md" in text
    assert [(item["name"], item["tokens"]) for item in document["items"]] == [("CLAUDE.md", 100)]


def test_nothing_is_written_into_a_repository(path: Path, root: Path):
    (root / "CLAUDE.md").write_text("# Shop\n")
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file()}

    run("retro", "--store", path, *WEEK, "--repository", root)
    (finding,) = stored(path)
    run("retro", "show", finding, "--patch", "--store", path)
    run("retro", "decline", finding, "--reason", "no", "--store", path)
    run("guidance", "--store", path, "--workspace", root)

    assert {file: file.read_bytes() for file in root.rglob("*") if file.is_file()} == before
