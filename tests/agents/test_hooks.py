"""The hook in the real agents: the arm's whole text is in the request if and only if it was drawn."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from laboratory import Laboratory
from stand_in import Call

from kaizen_analytics.hook import draw, split_text
from kaizen_analytics.store import Store
from kaizen_analytics.store.assignments import spool_beside

SIZES = (200, 9_900, 10_500, 40_000)
AGENTS = ("claude", "former", "codex")


def write_text(word: str, size: int) -> str:
    """Return a text of so many characters, no line of which is in another text."""
    lines = "".join(f"{word} rule {number} of {size}: say it once.\n" for number in range(size // 20))
    return lines[: size - 1] + "\n"


def count_lines(text: str, call: Call) -> int:
    whole = [line for line in text.splitlines() if line.endswith("say it once.")]  # the last one is cut to size
    return sum(line in call.text for line in whole)


def holds_whole(text: str, call: Call, agent: str) -> bool:
    """Whether the request holds a text whole: in one piece, or for Claude Code each part whole."""
    parts = [text] if agent == "codex" else split_text(text)
    return all(part in call.text for part in parts)


def ask(lab: Laboratory, agent: str, prompt: str, session: str | None = None) -> str:
    if agent == "codex":
        return lab.codex(*(["resume", session] if session else []), prompt)
    return lab.claude(prompt, *(["--resume", session] if session else []))


def start_drawn(lab: Laboratory, agent: str, name: str) -> str:
    """Start sessions until one was drawn: on a busy machine a hook may give up, and its session takes no part."""
    for _ in range(3):
        session = ask(lab, agent, "AGENT")
        if session in lab.draws(name):
            return session
    pytest.fail(f"{agent}: no session was drawn")


@dataclass(frozen=True)
class Run:
    """One session with a sub-agent, resumed once, under a running experiment with texts in both arms."""

    calls: list[Call]
    text: str
    other_text: str


@pytest.fixture(scope="module")
def runs(make_laboratory: Callable[..., Laboratory]) -> Callable[[str], dict[int, Run]]:
    """Return a function that runs an agent once for each size of text; it remembers what it ran."""

    @functools.cache
    def run(agent: str) -> dict[int, Run]:
        lab = make_laboratory("claude" if agent == "codex" else agent)
        lab.kaizen("hooks", "install", "--yes", "--parts", "5")
        return {size: run_size(lab, agent, size) for size in SIZES}

    return run


def run_size(lab: Laboratory, agent: str, size: int) -> Run:
    texts = {arm: write_text(f"{arm}-{agent}", size) for arm in ("Control", "Treatment")}
    for arm, text in texts.items():
        (lab.home / f"{arm}.md").write_text(text)
    name = f"{agent}-{size}"
    document = lab.start_experiment(name, *(f"--{arm.lower()}-text={lab.home / arm}.md" for arm in texts))
    session = start_drawn(lab, agent, name)
    ask(lab, agent, "hello", session)
    arm = lab.draws(name)[session]
    lab.withdraw(name)
    assert arm == draw(document["seed"], name, session, 0.5)
    other = "Control" if arm == "Treatment" else "Treatment"
    return Run(lab.stand_in.of(session), texts[arm], texts[other])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("agent", AGENTS)
def test_the_whole_text_of_the_drawn_arm_and_nothing_of_the_other_is_in_every_request(runs, agent: str, size: int):
    found = runs(agent)[size]

    assert len(found.text) == len(found.other_text) == size
    assert len(found.calls) >= 5, "root, sub-agent and the resumed root"
    for call in found.calls:
        assert holds_whole(found.text, call, agent)
        assert count_lines(found.other_text, call) == 0
    assert sum(call.prompt == "TOOL please" for call in found.calls) == 2, "the sub-agent's"


@pytest.mark.parametrize("agent", AGENTS)
def test_a_resumed_session_does_not_get_the_text_twice(runs, agent: str):
    found = runs(agent)[200]

    assert found.calls[-1].text.count(found.text.splitlines()[0]) == 1


def remove_store(lab: Laboratory) -> None:
    lab.store.unlink()


def block_spool(lab: Laboratory) -> None:
    spool_beside(lab.store).mkdir()


def break_registry(lab: Laboratory) -> None:
    (lab.home / ".kaizen" / "assignments" / "e1.json").write_text("{")


def kill_hook(lab: Laboratory) -> None:
    for file in (lab.home / ".claude" / "settings.json", lab.home / ".codex" / "hooks.json"):
        settings = json.loads(file.read_text())
        for entry in (hook for groups in settings["hooks"].values() for group in groups for hook in group["hooks"]):
            entry["command"] = "kill -9 $$; " + entry["command"]
        file.write_text(json.dumps(settings))


def uninstall(lab: Laboratory) -> None:
    for file in (lab.home / ".claude" / "settings.json", lab.home / ".codex" / "hooks.json"):
        text = file.read_text()
        assert "__main__.py hook" in text
        file.write_text(text.replace("__main__.py hook", "gone.py hook"))


def make_store_newer(lab: Laboratory) -> None:
    with Store.open(lab.store) as store:
        store.native("insert into ka_migrations values (999, 0) returning 1")


@pytest.mark.parametrize("damage", [remove_store, block_spool, break_registry, kill_hook, uninstall, make_store_newer])
def test_whatever_is_broken_the_agents_work_as_without_us(make_laboratory, damage: Callable[[Laboratory], None]):
    lab = make_laboratory()
    lab.kaizen("hooks", "install", "--yes")
    (lab.home / "brief.md").write_text("Be brief.\n")
    lab.start_experiment("e1", f"--treatment-text={lab.home / 'brief.md'}")
    damage(lab)

    for session in (lab.claude("TOOL one"), lab.codex("TOOL one")):
        assert len(lab.stand_in.of(session)) == 2


@pytest.mark.parametrize("damage", ["read-only", "full"])
def test_on_a_disk_that_takes_nothing_the_agents_work_as_without_us(make_laboratory, damage_disk, damage: str):
    lab = make_laboratory()
    lab.kaizen("hooks", "install", "--yes")
    (lab.home / "brief.md").write_text("Be brief.\n")
    lab.start_experiment("e1", *(f"--{arm}-text={lab.home / 'brief.md'}" for arm in ("control", "treatment")))
    before = damage_disk(damage, lab.store.parent)

    for session in (lab.claude("TOOL one", via=before), lab.codex("TOOL one", via=before)):
        assert ["Be brief." in call.text for call in lab.stand_in.of(session)] == [False, False]
    assert lab.draws("e1") == {}


@pytest.mark.parametrize("agent", AGENTS)
def test_a_session_is_in_the_store_after_its_end(make_laboratory, agent: str):
    lab = make_laboratory("claude" if agent == "codex" else agent)
    lab.kaizen("hooks", "install", "--yes", "--ingest")
    session = ask(lab, agent, "hello")
    [log] = (lab.home / ".kaizen" / "hooks").glob("ingest-*.log")
    with log.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held until the ingest ends

    assert session in lab.stored_tokens(), log.read_text()


def test_a_locked_store_does_not_hold_up_an_agent(make_laboratory):
    lab = make_laboratory()
    lab.kaizen("hooks", "install", "--yes")
    lab.start_experiment("e1")
    with Store.open(lab.store) as store, store.write():
        sessions = {lab.claude("hello") for _ in range(3)}
    assert lab.draws("e1").keys() & sessions, "three hooks would have to give up"


def test_the_settings_are_as_before_when_the_hook_is_removed(make_laboratory):
    lab = make_laboratory()
    file = lab.home / ".claude" / "settings.json"
    before = file.read_bytes()
    lab.kaizen("hooks", "install", "--yes", "--parts", "3")
    lab.kaizen("hooks", "remove", "--yes")

    assert file.read_bytes() == before
    assert not (lab.home / ".codex" / "hooks.json").exists()


def test_a_rule_file_is_read_by_the_treatment_only_and_by_its_sub_agents(make_laboratory):
    lab = make_laboratory()
    rule = lab.repository / ".claude" / "rules" / "brief.md"
    rule.parent.mkdir(parents=True)
    rule.write_text("Rule of the treatment: be brief.\n")
    lab.kaizen("hooks", "install", "--yes")
    lab.start_experiment("e1", "--treatment-file", ".claude/rules/brief.md")
    run = [shutil.which("kaizen-analytics", path=lab.environment["PATH"]), "run", "e1", "--"]
    sessions = [lab.claude("AGENT", via=run) for _ in range(8)]
    arms = lab.draws("e1")

    assert set(arms) <= set(sessions)
    assert set(arms.values()) == {"Control", "Treatment"}, "one in 128 runs of this test has one arm only"
    for session, arm in arms.items():
        held = ["Rule of the treatment" in call.text for call in lab.stand_in.of(session)]
        assert held == [arm == "Treatment"] * len(held)
        assert len(held) >= 4, "two of the root and two of its sub-agent"


def test_a_launch_gives_the_arm_its_model(make_laboratory):
    lab = make_laboratory()
    lab.kaizen("hooks", "install", "--yes")
    lab.start_experiment("e1", "--control-args=--model opus", "--treatment-args=--model haiku")
    run = [shutil.which("kaizen-analytics", path=lab.environment["PATH"]), "run", "e1", "--"]
    sessions = [lab.claude("hello", via=run) for _ in range(4)]
    resumed = lab.claude("hello again", "--resume", sessions[0], via=run)
    alone = lab.claude("hello")
    arms = lab.draws("e1")

    assert (resumed, arms[alone]) == (sessions[0], None)
    for session in sessions:
        models = {call.model for call in lab.stand_in.of(session)}
        assert len(models) == 1
        assert ("haiku" in models.pop()) == (arms[session] == "Treatment")
    assert Path(run[0]).exists()
