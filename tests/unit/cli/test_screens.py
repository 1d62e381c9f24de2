"""What a terminal of 60, 80, 120 and 200 columns shows, kept as text in tests/golden/screens.

KAIZEN_RENEW=1 pytest tests/unit/cli/test_screens.py    # after a change that is meant to change them
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaizen_analytics.cli import ingest
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.ingest.tail import LiveEvent
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import list_sessions, read_timeline

ROOT = Path(__file__).resolve().parents[3]
SCREENS = ROOT / "tests" / "golden" / "screens"
WIDTHS = (60, 80, 120, 200)
COMMANDS = {
    "ingest": ("ingest", "--home", str(ROOT / "data" / "sample" / "home")),
    "sessions-list": ("sessions", "list", "--limit", "8"),
    "usage": ("usage", "--by", "month,model", "--timezone", "UTC"),
    "metrics": ("metrics",),
    "exp-evaluate": ("exp", "evaluate", "small-model"),
    "exp-show": ("exp", "show", "small-model"),
    "doctor": ("doctor", "--home", str(ROOT / "data" / "sample" / "home")),
    "tail": ("tail",),
}
_STORE = re.compile(r"\s\S*analytics\.db")


@pytest.fixture
def store(sample_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sample's store, whose first session `tail` shows as if it ran now."""
    path = Path(shutil.copy(sample_store, tmp_path / "analytics.db"))
    monkeypatch.setenv("KAIZEN_STORE", str(path))
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with Store.open(path, read_only=True) as opened:
        session = list_sessions(opened, agent="claude_code")["session_id"][0]
        rows = read_timeline(opened, session).head(12).to_dicts()
    events = [LiveEvent(agent=Agent.CLAUDE_CODE, columns={**row, "session_id": session}) for row in rows]
    monkeypatch.setattr(ingest, "follow", lambda *_, **__: iter(events))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_screen_is_as_it_was(
    name: str, store: Path, monkeypatch: pytest.MonkeyPatch, program: Callable[..., Any]
) -> None:
    assert store.exists()
    shown = []
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        answer = program(*COMMANDS[name])
        assert answer.code == 0
        text = _STORE.sub(" STORE", answer.out)
        too_long = [line for line in text.splitlines() if len(line) > width and "STORE" not in line]
        assert too_long == []
        shown.append(f"$ kaizen-analytics {' '.join(COMMANDS[name][:3])}  ({width} columns)\n{text}")
    screen = "\n".join(shown).replace(str(ROOT), "")
    golden = SCREENS / f"{name}.txt"
    if "KAIZEN_RENEW" in os.environ:
        golden.write_text(screen, encoding="utf-8")
    assert screen == golden.read_text(encoding="utf-8")
