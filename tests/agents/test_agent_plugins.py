"""The plugins in the real agents: they load, their hook draws once, and what their commands print reaches the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from laboratory import Laboratory

ROOT = Path(__file__).resolve().parents[2]
CLAUDE_PLUGIN = ("--plugin-dir", str(ROOT / "plugins" / "claude-code"))
TEXTS = {"control": "Control: explain each step.", "treatment": "Treatment: be brief."}


@pytest.fixture
def lab(make_laboratory: Callable[..., Laboratory]) -> Laboratory:
    """A laboratory with a running experiment that has a text in both arms, and the plugin of Codex."""
    found = make_laboratory()
    for arm, text in TEXTS.items():
        (found.home / f"{arm}.md").write_text(f"{text}\n")
    found.start_experiment("e1", *(f"--{arm}-text={found.home / arm}.md" for arm in TEXTS))
    for words in (["marketplace", "add", str(ROOT)], ["add", "kaizen-analytics@kaizen-analytics"]):
        found.run([str(found.codex_program), "plugin", *words])
    return found


def ask(lab: Laboratory, agent: str, prompt: str) -> str:
    return lab.claude(prompt, *CLAUDE_PLUGIN) if agent == "claude" else lab.codex(prompt)


def start_drawn(lab: Laboratory, agent: str, prompt: str = "AGENT") -> tuple[str, str]:
    """Return a session that was drawn, and its arm: on a busy machine a hook may give up."""
    for _ in range(3):
        session = ask(lab, agent, prompt)
        arm = lab.draws("e1").get(session)
        if arm is not None:
            return session, arm.lower()
    pytest.fail(f"{agent}: no session was drawn")


def test_claude_code_finds_no_fault_in_the_manifests(lab: Laboratory):
    for folder in (ROOT / "plugins" / "claude-code", ROOT):
        found = lab.run([str(lab.claude_program), "plugin", "validate", "--strict", str(folder)])
        assert "Validation passed" in found


@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_the_hook_of_a_plugin_draws_and_its_text_reaches_root_and_sub_agent(lab: Laboratory, agent: str):
    session, arm = start_drawn(lab, agent)
    calls = lab.stand_in.of(session)

    assert len(calls) >= 4
    for call in calls:
        assert {name for name, text in TEXTS.items() if text in call.text} == {arm}


@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_a_session_with_plugin_and_settings_is_drawn_once_and_told_once(lab: Laboratory, agent: str):
    lab.kaizen("hooks", "install", "--yes")
    session, arm = start_drawn(lab, agent, "hello")

    for call in lab.stand_in.of(session):
        assert call.text.count(TEXTS[arm]) == 1


def test_the_verdict_that_a_command_of_claude_code_asks_for_reaches_the_model_redacted(lab: Laboratory):
    lab.claude("hello", *CLAUDE_PLUGIN)
    lab.ingest()
    session = lab.claude("/kaizen-analytics:verdict e1", *CLAUDE_PLUGIN)
    text = lab.stand_in.of(session)[0].text

    assert "Design     Randomised" in text
    assert "conclude no cause" in text
    session = lab.claude("/kaizen-analytics:retro", *CLAUDE_PLUGIN)
    assert "The retro of the last seven days, redacted:" in lab.stand_in.of(session)[0].text
    assert "!`kaizen-analytics" not in lab.stand_in.of(session)[0].text


def test_both_agents_are_told_what_the_plugin_can_do(lab: Laboratory):
    for agent in ("claude", "codex"):
        text = lab.stand_in.of(ask(lab, agent, "hello"))[0].text
        assert "what must not be concluded from a before/after" in text, agent


def test_a_session_without_our_program_works_as_without_the_plugin(lab: Laboratory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Laboratory, "environment", property(lambda one: {**_environment(one), "PATH": "/usr/bin:/bin"}))

    for agent in ("claude", "codex"):
        assert len(lab.stand_in.of(ask(lab, agent, "TOOL one"))) == 2


_environment = Laboratory.environment.fget
