"""What the texts of skills and servers cost to carry, against sums by hand."""

import json

import pytest
from retro_stores import MONDAY_MS, add_session, answer

from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.records import Tokens
from kaizen_analytics.retro.guidance import compute_carried
from kaizen_analytics.store import Store
from kaizen_analytics.usage import Chosen

MODEL = "claude-sonnet-4-5"


def skill(name: str, chars: int | None) -> dict[str, object]:
    payload = {"event": "skill", "skill": name} | ({} if chars is None else {"chars": chars})
    return {"kind": "Lifecycle", "payload": json.dumps(payload)}


def compaction() -> dict[str, object]:
    return {"kind": "Lifecycle", "payload": json.dumps({"event": "compaction"})}


def server_call(name: str, chars: int) -> list[dict[str, object]]:
    call = {"kind": "ToolCall", "tool": f"mcp__{name}__find", "tool_call_id": name, "payload": "{}"}
    return [call, {**call, "kind": "ToolResult", "payload": json.dumps({"is_error": False, "chars": chars})}]


def price(*, reads: int) -> float:
    """Return dollars per token that is written to the cache once and read from it so often afterwards."""
    found = PriceList().find(MODEL, MONDAY_MS)
    assert found is not None
    written, read = (found.cost_e6(tokens) for tokens in (Tokens(None, 10**5, None, None, None),
                                                          Tokens(None, None, 10**5, None, None)))  # fmt: skip
    return (written + reads * read) / 1e11


def test_a_text_is_carried_until_the_next_compaction(store: Store) -> None:
    events = [answer(), skill("review", 400), answer(), answer(), answer(), compaction(), answer()]
    add_session(store, "a", MONDAY_MS, events)
    add_session(store, "b", MONDAY_MS, [skill("review", None), skill("commit", 40), answer()])
    found = {row["skill"]: row for row in compute_carried(store, "skill", Chosen()).to_dicts()}
    review = found["review"]
    assert (review["uses"], review["sessions"], review["tokens"], review["carried_tokens"]) == (2, 2, 100, 300)
    assert review["cost_usd"] == pytest.approx(100 * price(reads=2))
    assert found["commit"]["cost_usd"] == pytest.approx(10 * price(reads=0))


def test_results_of_a_servers_tools_count_with_the_server(store: Store) -> None:
    add_session(store, "a", MONDAY_MS, [*server_call("docs", 800), answer(), answer(), *server_call("wiki", 80)])
    found = compute_carried(store, "mcp_server", Chosen()).to_dicts()
    assert [(row["mcp_server"], row["tokens"], row["carried_tokens"]) for row in found] == [
        ("docs", 200, 400),
        ("wiki", 20, 0),
    ]
    assert found[1]["cost_usd"] == 0, "nobody read it"
    assert compute_carried(store, "mcp_server", Chosen(agent="codex")).is_empty()
    assert compute_carried(store, "mcp_server", Chosen(until_ms=MONDAY_MS)).is_empty()


def test_a_model_without_a_price_has_no_cost(store: Store) -> None:
    unpriced = answer() | {"payload": json.dumps({"role": "assistant", "model": "unheard-of"})}
    add_session(store, "a", MONDAY_MS, [skill("review", 400), unpriced], model="unheard-of")
    assert compute_carried(store, "skill", Chosen())["cost_usd"].to_list() == [None]
