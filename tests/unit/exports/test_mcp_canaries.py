"""What the MCP server answers: no word of the store but what is shared on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from canary_stores import CANARY, NOW_MS
from mcp.client import client

from kaizen_analytics.serving.answers import Answers
from kaizen_analytics.serving.server import build_server
from kaizen_analytics.store import Store
from kaizen_analytics.store.experiments import get_experiment

ON_PURPOSE = {
    *("id", "experiment_id", "name", "hypothesis", "change_description"),
    *("sentence", "next_actions", "settle"),  # name the experiment, and the commands that go on with it
}
CALLS = {
    "usage": {"by": ["workspace", "model"], "days": 3660},
    "sessions": {"days": 3660},
    "outcomes": {"days": 3660},
    "experiments": {},
    "evaluate": {"experiment": f"exp-{CANARY}"},
    "power": {"metric": "tokens_per_session", "days": 3660},
    "retro": {"days": 28},
}


def find_canaries(node: object, field: str = "") -> Iterator[str]:
    """Yield the fields of a JSON document whose text or key holds a canary."""
    if isinstance(node, str) and CANARY in node.lower():
        yield field
    elif isinstance(node, list):
        for item in node:
            yield from find_canaries(item, field)
    elif isinstance(node, dict):
        for key, value in node.items():
            yield from (*find_canaries(key, f"key {key}"), *find_canaries(value, key))


def call(store: Path, name: str, *, full: bool = False) -> str:
    async def run() -> str:
        answers = Answers(store=store, clock=lambda: NOW_MS, full=full)
        async with client.Client(build_server(answers)) as session:
            result = await session.call_tool(name, CALLS[name])
        assert not result.is_error, result.content[0].text
        return result.content[0].text

    return anyio.run(run)


@pytest.mark.parametrize("name", [*CALLS])
def test_no_answer_carries_a_word_of_the_store(canary_store: Store, name: str):
    answer = json.loads(call(Path(canary_store.path), name))
    assert set(find_canaries(answer)) <= (ON_PURPOSE if name in ("experiments", "evaluate", "retro") else set())


@pytest.mark.parametrize("name", ["usage", "sessions", "evaluate", "retro"])
def test_a_server_that_shows_everything_carries_them(canary_store: Store, name: str):
    assert set(find_canaries(json.loads(call(Path(canary_store.path), name, full=True)))) - ON_PURPOSE


def test_the_page_of_a_retro_names_experiments_only(canary_store: Store):
    async def run() -> str:
        answers = Answers(store=Path(canary_store.path), clock=lambda: NOW_MS)
        async with client.Client(build_server(answers)) as session:
            return (await session.read_resource("kaizen://retro")).contents[0].text

    experiment = get_experiment(canary_store, f"exp-{CANARY}")
    told = [line for line in anyio.run(run).splitlines() if CANARY in line.lower()]
    assert [line[:6] for line in told] == [f"| {experiment.name}"[:6]]
