"""From a finding to a proven, applied change, with the real Claude Code: the stand-in plays a command that fails.

Until the finding's line is in its context, the model runs a command with a wrapper that does not exist, and then the
command itself.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from laboratory import Laboratory

from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.decide import Grade
from kaizen_analytics.hook import draw
from kaizen_analytics.retro.followup import Standing
from kaizen_analytics.store import Store

LINE = "Leave out `rtk`"
RUNS, AFTER = 36, 6
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "retro.md"
DAY_MS = 86_400_000


def play(text: str, done: int) -> str | None:
    """Return the model's next command: the wrong one and then the right one, or the right one at once."""
    commands = ("echo ok",) if LINE in text else ("rtk echo ok", "echo ok")
    return commands[done] if done < len(commands) else None


def move_back(lab: Laboratory, session: str, days: int) -> None:
    """Let a session have run some days ago: a finding is seen on two days or more."""
    [file] = lab.home.glob(f".claude/projects/*/{session}.jsonl")
    earlier = timedelta(days=days)
    text = re.sub(
        r'"timestamp":"(\d{4}-\d\d-\d\d)T',
        lambda found: f'"timestamp":"{date.fromisoformat(found[1]) - earlier}T',
        file.read_text(),
    )
    file.write_text(text)


def read_loop() -> list[str]:
    """Return the commands of the page that describes the loop."""
    [block] = re.findall(r"```sh\n(.*?exp new --from-finding.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for line in block.splitlines() if not line.startswith("#")]


def run_many(lab: Laboratory, runs: int) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda _: lab.claude("CHECK it"), range(runs)))


def test_a_finding_is_drawn_by_lot_proven_applied_and_gone(make_laboratory: Callable[..., Laboratory]) -> None:
    lab = make_laboratory()
    lab.stand_in.choose_command = play
    settings = lab.home / ".claude" / "settings.json"
    settings.write_text(json.dumps({"permissions": {"allow": ["Bash(echo:*)", "Bash(rtk:*)"]}}))

    retro_, install, new, begin, ingest, evaluate, apply = read_loop()

    def shell(line: str) -> str:
        return lab.run(["bash", "-c", line])

    # The finding.
    for days, session in enumerate(run_many(lab, 4), 3):
        move_back(lab, session, days)
    lab.ingest()
    found = lab.kaizen("retro", "--repository", str(lab.repository), "--timezone", "UTC")["findings"]
    [finding] = [item for item in found if item["kind"] == "wrong_command"]
    assert (finding["sessions"], finding["exposed"]) == (4, 4)
    assert finding["change"]["line"].startswith(LINE)

    assert finding["id"] in shell(f"{retro_} --timezone UTC")

    # The experiment by lot, on the finding's own rate.
    shell(install)
    planned = json.loads(shell(f"{new.replace('FINDING', finding['id'])} --json"))
    assert planned["experiment"]["metric"] == "FindingRate"
    assert planned["plan"]["planned_n"] == 16
    shell(begin)
    seed = json.loads((lab.home / ".kaizen" / "assignments" / "loop.json").read_text())["seed"]
    sessions = run_many(lab, RUNS)
    shell(ingest)
    assert "does not work here" in shell(evaluate)
    arms = lab.draws("loop")
    assert arms == {session: draw(seed, "loop", session, 0.5) for session in arms}
    for session in sessions:
        told = [LINE in call.text for call in lab.stand_in.of(session)]
        assert told == [arms.get(session) == "Treatment"] * len(told)
    later_ms = time.time_ns() // 1_000_000 + 15 * DAY_MS
    with Store.open(lab.store) as store:
        result = lifecycle.conclude(store, "loop", now_ms=later_ms)
    assert result.decision.grade is Grade.RANDOMISED
    assert result.verdict == "met"
    (lab.home / ".kaizen" / "assignments" / "loop.json").unlink(missing_ok=True)

    # The change, applied and committed.
    git = ["git", "-C", str(lab.repository), "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    shell(apply.replace("FINDING", finding["id"]))
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "Name the command that works"], check=True)
    time.sleep(1.1)  # a commit's time is in whole seconds

    # The follow-up.
    run_many(lab, AFTER)
    lab.ingest()
    week = f"{datetime.now(UTC):%G-W%V}"
    retro = lab.kaizen("retro", "--repository", str(lab.repository), "--week", week, "--timezone", "UTC")
    [followed] = [item for item in retro["followed"] if item["id"] == finding["id"]]
    assert followed["standing"] == Standing.APPLIED
    assert (followed["hit"], followed["exposed"]) == (0, AFTER)
    assert followed["expected"] > 2
    assert followed["p_value"] < 0.05
