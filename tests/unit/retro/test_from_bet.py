"""`exp new --from-bet`: from a bet of a stored retro to a draft; and that none of it writes into a repository."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from retro_stores import MONDAY_MS, NOW_MS, add_session, answer, edits, make_bet
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.errors import ConfigError, ExperimentError, KaizenError
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.retros import write_retro

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMITS = ("--bind", "git", "--control-commit", "v1", "--treatment-commit", "v2")
PROMPT_BET = "H16:aaaa|bbbb"
CHURN_BET = "H3:src/a.py"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "kaizen.db"
    with Store.open(file, create=True) as store:
        bets = [make_bet(CHURN_BET), make_bet(PROMPT_BET, metric="CostPerSession")]
        write_retro(
            store,
            {},
            [bet.to_json() for bet in bets],
            retro_id="retro-1",
            workspace=None,
            window=(MONDAY_MS, NOW_MS),
            computed_at_ms=NOW_MS,
        )
    return file


def new(path: Path, *options: str) -> dict:
    arguments = ["exp", "new", "--store", str(path), "--all-workspaces", "--json", *options]
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, KaizenError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_prompt_bet_says_everything(path: Path) -> None:
    document = new(path, "--from-bet", PROMPT_BET)
    experiment = document["experiment"]
    assert document["bet"] == PROMPT_BET
    assert experiment["binding"] == {
        "PromptFingerprint": {"control_fingerprint": "aaaa", "treatment_fingerprint": "bbbb"}
    }
    assert (experiment["metric"], experiment["duration_days"]) == ("CostPerSession", 14)
    assert experiment["hypothesis"].endswith(f"({PROMPT_BET})")
    with Store.open(path) as store:
        assert [item.id for item in list_experiments(store)] == [experiment["id"]]


def test_what_the_bet_leaves_open_must_be_said(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--bind missing\. Say how the arms are told apart"):
        new(path, "--from-bet", "H3")
    assert new(path, "--from-bet", "H3", *COMMITS)["experiment"]["binding"]["GitCommit"]["control_commit"] == "v1"


def test_what_is_given_comes_before_the_bet(path: Path) -> None:
    options = (
        "--name",
        "Mine",
        "--target-pct",
        "-33",
        "--duration-days",
        "5",
        "--guardrail",
        "cost_per_session:increase:2",
    )
    experiment = new(path, "--from-bet", CHURN_BET, *COMMITS, *options, "--hypothesis", "I think so.")["experiment"]
    assert (experiment["name"], experiment["duration_days"]) == ("Mine", 5)
    assert experiment["success_criterion"]["Delta"]["target_pct"] == -33
    assert [guardrail["metric"] for guardrail in experiment["guardrails"]] == ["CostPerSession"]
    assert experiment["hypothesis"] == f"I think so. ({CHURN_BET})"


def test_an_absolute_goal_replaces_the_target_of_the_bet(path: Path) -> None:
    experiment = new(path, "--from-bet", CHURN_BET, *COMMITS, "--absolute", "900")["experiment"]
    assert experiment["success_criterion"] == {"Absolute": {"metric_value": 900.0}}


def test_another_metric_needs_a_target_of_its_own(path: Path) -> None:
    with pytest.raises(ConfigError, match="give either --target-pct or --absolute"):
        new(path, "--from-bet", CHURN_BET, *COMMITS, "--metric", "success_rate")
    document = new(path, "--from-bet", CHURN_BET, *COMMITS, "--metric", "success_rate", "--target-pct", "5")
    assert document["experiment"]["guardrails"] == []


def test_another_binding_leaves_the_fingerprints_of_the_bet_out(path: Path) -> None:
    document = new(path, "--from-bet", PROMPT_BET, "--bind", "manual")
    assert document["experiment"]["binding"] == {"ManualTag": {"variant_field": ""}}


@pytest.mark.parametrize(("bet", "message"), [("H99", "No stored retro made the bet 'H99'"), ("H", "several bets")])
def test_a_bet_that_is_not_one_is_refused(path: Path, bet: str, message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        new(path, "--from-bet", bet, *COMMITS)


def test_a_bet_is_proved_once_unless_the_experiment_was_put_away(path: Path) -> None:
    first = new(path, "--from-bet", CHURN_BET, *COMMITS, "--id", "one")
    assert first["experiment"]["id"] == "one"
    with pytest.raises(ExperimentError, match=r"already has the experiment one.*exp show one"):
        new(path, "--from-bet", CHURN_BET, *COMMITS)
    CliRunner().invoke(app, ["exp", "archive", "one", "--store", str(path)])
    assert new(path, "--from-bet", CHURN_BET, *COMMITS, "--id", "two")["experiment"]["id"] == "two"


def test_without_a_bet_the_missing_options_are_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--name and --metric and --bind missing\. --from-bet takes them"):
        new(path)


def test_a_person_is_told_which_bet_and_what_to_check(path: Path) -> None:
    command = ["exp", "new", "--store", str(path), "--all-workspaces", "--from-bet", PROMPT_BET]
    shown = CliRunner().invoke(app, command).output
    assert f"It is to prove the bet {PROMPT_BET}. The two fingerprints are those of the bet" in shown


def list_files(root: Path) -> dict[str, tuple[str, int, int]]:
    """Return what lies below `root`, the folder of git included: hash, mode and time of the last change."""
    return {
        str(item.relative_to(root)): (
            hashlib.sha256(item.read_bytes()).hexdigest() if item.is_file() else "",
            item.lstat().st_mode,
            item.lstat().st_mtime_ns,
        )
        for item in [root, *sorted(root.rglob("*"))]
    }


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """Return a checkout with guidance that nobody may write to."""
    root = tmp_path / "shop"
    (root / ".claude" / "skills" / "review").mkdir(parents=True)
    (root / ".claude" / "skills" / "review" / "SKILL.md").write_text("Review it.\n" * 40)
    (root / "CLAUDE.md").write_text("Plan first.\n")
    commit = ("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--allow-empty", "-qm", "Add guidance")
    for words in (("init", "-q"), ("add", "."), commit, ("tag", "v1"), commit, ("tag", "v2")):
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)
    folders = [root, *(item for item in root.rglob("*") if item.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield root
    for folder in folders:
        folder.chmod(0o755)


def test_nothing_is_written_into_a_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(repository)
    file = tmp_path / "kaizen.db"
    with Store.open(file, create=True) as store:
        events = [answer(), *edits(f"{repository}/src/a.py", 8)]
        add_session(store, "s", MONDAY_MS, events, workspace=str(repository))
    before = list_files(repository)
    for words in (
        ["guidance", "--workspace", str(repository)],
        ["retro", "--week", "2026-W40", "--workspace", str(repository)],
        ["retro", "--week", "2026-W40", "--format", "md,html,json", "--out", str(tmp_path / "out")],
        ["exp", "new", "--from-bet", "H3", "--id", "e", *COMMITS],
        ["exp", "start", "e", "--at", "2026-09-28"],
    ):
        result = CliRunner().invoke(app, [*words, "--store", str(file)])
        assert result.exit_code == 0, (words, result.output, result.exception)
    assert list_files(repository) == before
    assert len(list((tmp_path / "out").iterdir())) == 3
