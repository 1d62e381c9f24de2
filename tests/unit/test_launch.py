"""How `run` starts an agent in the arm of its unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.hook import append_record, draw
from kaizen_analytics.launch import _Launch, find_assignment, plan_launch

SEED = "04" * 16
UNIT = {
    arm: next(f"u{i}" for i in range(99) if draw(SEED, "e1", f"u{i}", 0.5) == arm) for arm in ("Control", "Treatment")
}


def launch(
    command: str, arm: str = "Treatment", *, folder: Path = Path("/nowhere"), **arms: dict[str, object]
) -> _Launch:
    assignment = {
        "experiment": "e1",
        "seed": SEED,
        "unit": "session",
        "control_share": 0.5,
        "spool": str(folder / "spool"),
        "arms": {"Control": arms.get("control", {}), "Treatment": arms.get("treatment", {})},
    }
    given = {"PATH": "/bin", "LEVEL": "0"}
    return plan_launch(assignment, command.split(), environment=given, cwd="/repo", now_ms=0, nonce=UNIT[arm])


def settings(found: _Launch) -> dict[str, object]:
    return json.loads(found.command[found.command.index("--settings") + 1])


def test_only_the_treatment_gets_its_arguments_and_variables():
    treatment = {"args": ["--model", "haiku"], "env": ["LEVEL=1", "NOTE=a=b"]}
    treated = launch("claude -p hello", treatment=treatment)
    control = launch("claude -p hello", "Control", treatment=treatment)

    assert treated.command == ("claude", "-p", "hello", "--model", "haiku")
    assert control.command == ("claude", "-p", "hello")
    assert treated.environment == {
        "PATH": "/bin",
        "LEVEL": "1",
        "NOTE": "a=b",
        "KAIZEN_EXPERIMENT": "e1",
        "KAIZEN_ARM": "Treatment",
        "KAIZEN_UNIT": UNIT["Treatment"],
    }
    assert (control.environment["LEVEL"], control.environment["KAIZEN_ARM"]) == ("0", "Control")


def test_arguments_come_before_what_follows_two_dashes():
    assert launch("codex exec -- hello", treatment={"args": ["-m", "x"]}).command[-2:] == ("--", "hello")


def test_a_file_is_kept_from_the_other_arm():
    treatment = {"file": "./.claude/rules/brief.md", "settings": '{"effortLevel": "low"}'}
    excluded = "**/.claude/rules/brief.md"

    assert settings(launch("claude", treatment=treatment)) == {"effortLevel": "low"}
    assert settings(launch("claude", "Control", treatment=treatment)) == {"claudeMdExcludes": [excluded]}
    both = {"control": {"file": "a.md", "settings": '{"claudeMdExcludes": ["x"]}'}, "treatment": {"file": "b.md"}}
    assert settings(launch("claude", "Control", **both)) == {"claudeMdExcludes": ["x", "**/b.md"]}
    assert settings(launch("claude", **both)) == {"claudeMdExcludes": ["**/a.md"]}


@pytest.mark.parametrize("command", ["codex exec hi", "claude --settings mine.json", "claude --settings={}"])
def test_an_agent_that_cannot_take_the_settings_is_not_started(command: str):
    for arm in UNIT:
        with pytest.raises(ConfigError, match=r"Claude Code"):
            launch(command, arm, treatment={"file": "brief.md"})


@pytest.mark.parametrize(
    "command", ["claude -p go --resume s1", "claude -r s1", "claude --resume=s1", "codex resume s1"]
)
def test_a_session_that_is_continued_keeps_its_arm(tmp_path: Path, command: str):
    treatment = {"args": ["--model", "haiku"]}
    with pytest.raises(ExperimentError, match="takes no part"):
        launch(command, folder=tmp_path, treatment=treatment)
    record = {"experiment": "e1", "session": "s1", "unit": UNIT["Control"], "arm": "Control", "at_ms": 1}
    append_record(tmp_path / "spool", record)

    found = launch(command, "Treatment", folder=tmp_path, treatment=treatment)
    assert (found.arm, found.unit, found.command) == ("Control", UNIT["Control"], tuple(command.split()))


@pytest.mark.parametrize(
    "command", ["claude --continue", "claude -c", "codex exec resume --last", "claude -p hi --resume"]
)
def test_a_session_that_is_not_named_is_not_continued(command: str):
    with pytest.raises(ConfigError, match="name"):
        launch(command)


def test_words_of_the_prompt_and_options_of_other_agents_continue_nothing():
    for command in ("claude -p resume", "codex exec -c key=1 hi", "./nightly.sh --resume", "claude -p -- --continue"):
        assert launch(command).unit == UNIT["Treatment"]


def test_a_new_session_is_a_new_unit():
    assignment = {"experiment": "e1", "seed": SEED, "unit": "session", "control_share": 0.5, "spool": "/none"}
    assignment["arms"] = {"Control": {}, "Treatment": {}}
    units = {plan_launch(assignment, ["claude"], environment={}, cwd="/", now_ms=0).unit for _ in range(50)}

    assert len(units) == 50
    with pytest.raises(ExperimentError, match="on no branch"):
        plan_launch({**assignment, "unit": "branch"}, ["claude"], environment={}, cwd="/", now_ms=0)


def test_an_experiment_is_found_by_the_start_of_its_id(tmp_path: Path):
    for name in ("3f2a", "3f2b", "77"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"experiment": name}))

    assert find_assignment(tmp_path, "7")["experiment"] == "77"
    assert find_assignment(tmp_path, "3f2a")["experiment"] == "3f2a"
    with pytest.raises(ExperimentError, match="several"):
        find_assignment(tmp_path, "3f")
    with pytest.raises(ExperimentError, match="Did you mean '77'"):
        find_assignment(tmp_path, "777")
