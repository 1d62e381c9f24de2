"""`retro` and `guidance` on the command line."""

import json
from pathlib import Path

import pytest
from retro_stores import MONDAY_MS, add_session, answer, edits
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.errors import ConfigError, KaizenError
from kaizen_analytics.store import Store
from kaizen_analytics.store.retros import find_bets

WEEK = ("--week", "2026-W40")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kaizen.db"
    with Store.open(file, create=True) as store:
        add_session(store, "s", MONDAY_MS, [answer(), *edits("/w/shop/src/a.py", 8)])
    return file


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, KaizenError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def stored(path: Path) -> list[str]:
    with Store.open(path) as store:
        return [bet.bet_id for bet in find_bets(store, "")]


def test_a_retro_is_printed_and_stored(path: Path) -> None:
    assert "1. src/a.py was edited up to 8 times" in run("retro", "--store", path, *WEEK)
    assert stored(path) == ["H3:src/a.py"]


def test_a_dry_run_stores_nothing(path: Path) -> None:
    document = json.loads(run("retro", "--store", path, *WEEK, "--dry-run", "--json"))

    assert [bet["id"] for bet in document["bets"]] == ["H3:src/a.py"]
    assert stored(path) == []


def test_one_format_is_printed(path: Path) -> None:
    assert run("retro", "--store", path, *WEEK, "--format", "md").startswith("# Retro, week 2026-W40\n")


def test_formats_become_files(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("retro", "--store", path, *WEEK, "--format", "md,html,json", "--out", out)

    names = sorted(file.name for file in out.iterdir())
    assert names == [f"retro-20260928-20261004-all.{suffix}" for suffix in ("html", "json", "md")]
    assert json.loads((out / names[1]).read_text())["schema"] == "retro/1"


def test_only_one_workspace_counts_when_it_is_named(path: Path) -> None:
    document = json.loads(run("retro", "--store", path, *WEEK, "--workspace", "/w/bank", "--json"))
    assert (document["workspace"], document["tally"]["sessions"]) == ("/w/bank", 0)


def test_thresholds_come_from_the_users_file_or_a_named_one(path: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "retro.toml").write_text("[H3]\nmin_edits = 9\n")
    other = tmp_path / "other.toml"
    other.write_text("[H3]\nmin_edits = 8\n")

    assert json.loads(run("retro", "--store", path, *WEEK, "--json"))["bets"] == []
    assert json.loads(run("retro", "--store", path, *WEEK, "--json", "--thresholds", other))["bets"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "mdd"), "The format is 'mdd'.*Did you mean 'md'"),
        (("--format", "md,json"), "name a folder for them with --out"),
        (("--out", "x"), "--out needs --format"),
        (("--format", "md", "--json"), "both say what to print"),
        (("--week", "2026-40"), "expected an ISO week"),
        (("--week", "2026-W40", "--days", "7"), "name two windows"),
        (("--thresholds", "none.toml"), "Cannot read thresholds"),
    ],
)
def test_wrong_options_say_what_was_expected(path: Path, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("retro", "--store", path, *options)


def test_guidance_lists_what_lies_in_the_repository(path: Path, tmp_path: Path) -> None:
    repository = tmp_path / "shop"
    (repository / ".git").mkdir(parents=True)
    (repository / "CLAUDE.md").write_text("x" * 400)
    # A folder named .git that git does not know is no repository, and none of the files has a commit.
    document = json.loads(run("guidance", "--store", path, "--workspace", repository, "--json"))

    assert [(item["kind"], item["name"], item["tokens"]) for item in document["items"]] == [
        ("instructions", "CLAUDE.md", 100)
    ]
    assert "CLAUDE.md" in run("guidance", "--store", path, "--workspace", repository)


def test_guidance_without_a_repository_says_how_to_name_one(path: Path) -> None:
    assert "--workspace PATH" in run("guidance", "--store", path)
