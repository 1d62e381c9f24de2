"""The real agents, installed once from npm, and a laboratory for each test that wants one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from laboratory import PINNED, Laboratory, install_agent
from stand_in import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def agents() -> dict[str, Path]:
    """Return the programs of the pinned agents; AGENTS=latest takes the newest ones instead."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm on the PATH")
    cache = Path(os.environ.get("KAIZEN_AGENTS_CACHE") or ROOT / "build" / "agents")
    newest = os.environ.get("AGENTS") == "latest"
    versions = {name: "latest" if newest and name != "former" else version for name, version in PINNED.items()}
    try:
        return {name: install_agent(name, version, cache, npm) for name, version in versions.items()}
    except subprocess.SubprocessError:
        pytest.skip(f"npm cannot install {', '.join(f'{name} {version}' for name, version in versions.items())} here")


@pytest.fixture(scope="session")
def make_laboratory(
    agents: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Laboratory]]:
    """Return a function that makes a laboratory with its own stand-in."""
    running: list[StandIn] = []

    def make(claude: str = "claude") -> Laboratory:
        running.append(StandIn().__enter__())
        home = tmp_path_factory.mktemp("laboratory")
        return Laboratory(home, running[-1], agents[claude], agents["codex"]).prepare()

    yield make
    for stand_in in running:
        stand_in.__exit__()
