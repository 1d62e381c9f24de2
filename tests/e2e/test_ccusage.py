"""The daily and monthly tables beside those of ccusage, a pinned release from npm, on the same transcripts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.ingestion import PEER, install_ccusage
from benchmarks.transcripts import make_transcripts
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store
from kaizen_analytics.usage import RESPONSES, Chosen, compute_usage

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.system
ROOT = Path(__file__).resolve().parents[2]
KEYS = {"daily": "day", "monthly": "month"}
Table = dict[str, tuple[int, int, int, int]]
"""Input, cache write, cache read and output tokens by date or month; ccusage's output holds the reasoning."""


@pytest.fixture(scope="module")
def ccusage(tmp_path_factory: pytest.TempPathFactory, need_tool: Callable[[str], str]) -> str:
    need_tool("npm")
    program = install_ccusage(tmp_path_factory.mktemp("ccusage"))
    if program is None:
        pytest.skip(f"npm cannot install {PEER} here")
    return program


def read_theirs(program: str, home: Path, agent: str, period: str, zone: str) -> Table:
    own = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude"), "CODEX_HOME": str(home / ".codex")}
    command = [program, agent, period, "--json", "--offline", "--timezone", zone]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=True)
    columns = ("inputTokens", "cacheCreationTokens", "cacheReadTokens", "outputTokens")
    rows = json.loads(done.stdout)[period]
    return {row["date" if period == "daily" else "month"]: tuple(row[name] for name in columns) for row in rows}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Return the home folder and the store of each agent's synthetic transcripts."""
    folder = tmp_path_factory.mktemp("synthetic")
    # the sample's messages of Claude Code have no request id, without which ccusage counts their copies
    make_transcripts(folder / "home", 1)
    homes = {"claude": folder / "home", "codex": ROOT / "data" / "sample" / "home"}
    return {agent: (home, ingest(home, folder / f"{agent}.db")) for agent, home in homes.items()}


def ingest(home: Path, path: Path) -> Path:
    with Store.open(path, create=True) as store:
        run_ingest(store, [home], environment={})
    return path


def read_ours(path: Path, agent: str, period: str, zone: str) -> Table:
    with Store.open(path, read_only=True) as store:
        name = {"claude": "claude_code"}.get(agent, agent)
        rows = compute_usage(Chosen(agent=name).read(RESPONSES, store), [KEYS[period]], timezone=zone).to_dicts()
    return {
        str(row[KEYS[period]])[: 10 if period == "daily" else 7]: (
            row["tokens_in"] or 0,
            row["cache_creation_tokens"] or 0,
            row["cache_read_tokens"] or 0,
            (row["tokens_out"] or 0) + (row["reasoning_tokens"] or 0),
        )
        for row in rows
    }


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("period", KEYS)
@pytest.mark.parametrize("agent", ["claude", "codex"])
def test_synthetic_transcripts_give_equal_tables(
    ccusage: str, synthetic: dict[str, tuple[Path, Path]], agent: str, period: str, zone: str
) -> None:
    home, store = synthetic[agent]
    ours = read_ours(store, agent, period, zone)
    assert ours
    assert ours == read_theirs(ccusage, home, agent, period, zone)


@pytest.mark.slow
@pytest.mark.skipif("KAIZEN_TEST_TRANSCRIPTS" not in os.environ, reason="needs KAIZEN_TEST_TRANSCRIPTS=FOLDER")
@pytest.mark.parametrize(("agent", "period", "least"), [("claude", "daily", 29), ("claude", "monthly", 8),
                                                        ("codex", "daily", 17), ("codex", "monthly", 5)])  # fmt: skip
def test_real_transcripts_differ_only_where_ccusage_counts_copies(
    ccusage: str, tmp_path: Path, agent: str, period: str, least: int
) -> None:
    home = Path(os.environ["KAIZEN_TEST_TRANSCRIPTS"]) / "home"
    ours = read_ours(ingest(home, tmp_path / "usage.db"), agent, period, "UTC")
    theirs = read_theirs(ccusage, home, agent, period, "UTC")
    assert ours.keys() == theirs.keys()
    differing = {date for date in ours if ours[date] != theirs[date]}
    assert len(ours) - len(differing) >= least
    # see docs/how-to/usage.md: copies can only add
    assert [date for date in differing if any(a > b for a, b in zip(ours[date], theirs[date], strict=True))] == []
