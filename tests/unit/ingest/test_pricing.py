"""Costs: by model and day, by the life of cache writes, by the size of the response, and never a guess."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time

import pytest
from ingest_lines import START_MS, answer, claude_file, lines, prompt, usage

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest import pricing
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.pricing import PriceList
from kaizen_analytics.ingest.records import Tokens

AT_MS = 1_767_225_600_000  # 2026-01-01
ONE = {"a": {"input": 1, "output": 10, "cache_read": 0.1, "cache_write_5m": 1.25, "cache_write_1h": 2}}


@pytest.fixture
def own_prices(tmp_path):
    def make(prices):
        path = tmp_path / "prices.json"
        path.write_text(json.dumps(prices))
        return PriceList.load(path)

    return make


def test_each_token_column_has_its_price(own_prices):
    tokens = Tokens(1000, 300, 500, 40, 60, cache_write_1h=100)

    cost = own_prices(ONE).cost_e6("a", START_MS, tokens)

    assert cost == 1000 * 1 + 200 * 1.25 + 100 * 2 + 500 * 0.1 + (40 + 60) * 10


def test_the_packaged_prices_agree_with_the_library_that_holds_them():
    import genai_prices

    usage = genai_prices.Usage(input_tokens=1000, cache_read_tokens=400, cache_write_tokens=200, output_tokens=50)
    expected = genai_prices.calc_price(usage, "claude-opus-4-5-20251101", provider_id="anthropic").total_price

    cost = PriceList().cost_e6("claude-opus-4-5-20251101", START_MS, Tokens(400, 200, 400, 50, None))

    assert cost == pytest.approx(float(expected) * 1e6, abs=1)


@pytest.mark.parametrize(("given", "price"), [(272_000, 5), (272_001, 10)])
def test_a_long_context_costs_its_own_tier(given, price):
    assert PriceList().cost_e6("gpt-5.5", START_MS, Tokens(given, None, 0, 0, 0)) == given * price


def test_an_unknown_model_has_no_cost_and_is_named():
    prices = PriceList()

    assert prices.cost_e6("no-such-model", START_MS, Tokens(1, None, None, 1, None)) is None
    assert prices.cost_e6(None, START_MS, Tokens(1, None, None, 1, None)) is None
    assert prices.unknown == {"no-such-model", "(not recorded)"}


def test_a_response_without_tokens_costs_nothing_and_one_without_counts_is_unknown():
    prices = PriceList()

    assert prices.cost_e6(None, START_MS, Tokens(0, 0, 0, 0, None)) == 0
    assert prices.cost_e6("gpt-5.5", START_MS, Tokens(None, None, None, None, None)) is None


def test_a_price_is_looked_up_once_for_each_model_and_day(monkeypatch):
    asked = []
    real = pricing._look_up
    monkeypatch.setattr(pricing, "_look_up", lambda *key: asked.append(key) or real(*key))
    prices = PriceList()

    for at_ms in (START_MS, START_MS + 1, START_MS + 86_400_000):
        prices.cost_e6("gpt-5.5", at_ms, Tokens(1, None, None, 1, None))

    assert len(asked) == 2


def test_prices_that_were_looked_up_are_kept_for_the_next_run(monkeypatch, tmp_path):
    names = ["gpt-5.5", "claude-sonnet-4-5", "claude-opus-4-8-fast", "nobody-knows-this"]
    looked_up = {name: PriceList.load(None, cache=tmp_path).find(name, AT_MS) for name in names}
    [memory] = tmp_path.iterdir()
    monkeypatch.setattr(pricing, "_look_up", lambda *_: pytest.fail("the price is known"))

    kept = PriceList.load(None, cache=tmp_path)

    assert {name: kept.find(name, AT_MS) for name in names} == looked_up
    assert kept.unknown == {"nobody-knows-this"}
    monkeypatch.undo()
    whole = memory.read_text()
    for broken in (
        "{" + whole,
        whole[:60],
        '["gpt-5.5", 1, "a", "b", {"x": []}]',
        '["a", 1, "b", "c", []]',
        "[" * 9999,
        "\0",
    ):
        memory.write_text(broken)
        assert PriceList.load(None, cache=tmp_path).find("gpt-5.5", AT_MS) == looked_up["gpt-5.5"]


def test_a_cost_beyond_sqlites_integers_is_none(own_prices):
    assert own_prices(ONE).cost_e6("a", START_MS, Tokens(2**62, None, None, 2**62, None)) is None


@pytest.mark.parametrize(
    "prices", [[], {"a": 1}, {"a": {"input": 1}}, {"a": {"input": -1, "output": 1}}, {"a": {"input": 1, "output": "x"}},
               {"a": {"input": 1, "output": 1, "outptu": 1}}],
)  # fmt: skip
def test_a_bad_price_file_is_refused_with_its_name(own_prices, prices):
    with pytest.raises(ConfigError, match=r"prices\.json"):
        own_prices(prices)


def test_a_response_bought_at_another_speed_has_that_speeds_price():
    tokens = Tokens(1000, None, None, 100, None)

    standard = PriceList().cost_e6("claude-opus-4-8", START_MS, tokens)
    fast = PriceList().cost_e6("claude-opus-4-8", START_MS, tokens, "fast")

    assert (standard, fast) == (1000 * 5 + 100 * 25, 1000 * 10 + 100 * 50)


@pytest.mark.parametrize(("tier", "factor"), [("priority", 2.5), ("fast", 2.5), ("flex", 0.5)])
@pytest.mark.parametrize("days", [0, 250])
def test_a_service_tier_has_its_own_price_also_before_somebody_looked_it_up(tier, factor, days):
    at_ms, tokens = START_MS + days * 86_400_000, Tokens(1000, None, None, 100, None)

    standard = PriceList().cost_e6("gpt-5.5", at_ms, tokens)

    assert PriceList().cost_e6("gpt-5.5", at_ms, tokens, tier) == standard * factor


def test_a_service_tier_has_no_price_on_days_with_another_standard_price():
    def cost(month, tier=None):
        at_ms = int(datetime(2026, month, 1, tzinfo=UTC).timestamp() * 1000)
        return PriceList().cost_e6("gpt-5.6-terra", at_ms, Tokens(1000, None, None, 100, None), tier)

    assert cost(7) != cost(11)
    assert (cost(7, "priority"), cost(11, "priority")) == (None, 2 * cost(11))


def test_a_speed_that_nobody_sells_has_no_cost_and_is_named():
    prices = PriceList()

    assert prices.cost_e6("claude-sonnet-4-5-20250929", START_MS, Tokens(1, None, None, 1, None), "fast") is None
    assert prices.unknown == {"claude-sonnet-4-5-20250929 (fast)"}


def test_a_price_file_may_price_a_speed(own_prices):
    prices = own_prices(ONE | {"a (fast)": {"input": 2, "output": 20}})

    assert prices.cost_e6("a", START_MS, Tokens(1, None, None, 1, None), "fast") == 22


@pytest.mark.parametrize(
    ("model", "plain"),
    [
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514"),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1-20250805"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
            "claude-sonnet-4-20250514",
        ),
        ("claude-opus-4-1@20250805", "claude-opus-4-1-20250805"),
        ("claude-opus-5-5@default", "claude-opus-5-5"),
        ("claude-opus-5-5[1m]", "claude-opus-5-5"),
        ("anthropic/claude-sonnet-4", "claude-sonnet-4-20250514"),
        ("openai/gpt-5", "gpt-5"),
        ("anthropic/claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("vertex_ai/claude-opus-4-1@20250805", "claude-opus-4-1-20250805"),
        ("bedrock/global.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"),
        ("azure/gpt-5", "gpt-5"),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-opus-4-1-20250805-v1:0",
            "claude-opus-4-1-20250805",
        ),
        ("publishers/anthropic/models/claude-opus-4-1@20250805", "claude-opus-4-1-20250805"),
        ("claude-opus-4-8-fast[1m]", "claude-opus-4-8-fast"),
        ("litellm/anthropic/claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("litellm/claude-opus-4-8-fast", "claude-opus-4-8-fast"),
        ("copilot/gpt-5", "gpt-5"),
        ("azure_ai/claude-opus-4-5", "claude-opus-4-5"),
        ("databricks-claude-opus-4-5", "claude-opus-4-5"),
        ("databricks/databricks-gpt-5", "gpt-5"),
        ("zai/glm-4.6", "GLM-4.6"),
    ],
)
def test_a_model_sold_by_a_cloud_has_its_price_there(model, plain):
    tokens = Tokens(1000, 300, 500, 40, None)

    assert PriceList().cost_e6(model, START_MS, tokens) == PriceList().cost_e6(plain, START_MS, tokens)


def test_a_model_that_costs_more_in_a_region_costs_more():
    def cost(model):
        return PriceList().cost_e6(model, START_MS, Tokens(1000, None, None, None, None))

    assert cost("us.anthropic.claude-sonnet-4-5-20250929-v1:0") > cost("claude-sonnet-4-5-20250929")


@pytest.mark.parametrize("geo", ["us", "not_available"])
def test_searches_and_a_place_are_paid_for(store, home, geo):
    told = usage(1000, 0, 0, 0) | {"server_tool_use": {"web_search_requests": 2}, "inference_geo": geo}
    claude_file(home, "s1", lines(prompt("p", 1), answer("a", 2, "m", tokens=told)))

    assert run_ingest(store, [home]).agents["claude_code"].cost_usd_e6 == 20_000 + (3300 if geo == "us" else 3000)


def test_searches_without_a_price_leave_the_response_without_a_cost(own_prices):
    searched = Tokens(1, None, None, 1, None, searches=3)

    assert own_prices(ONE).cost_e6("a", START_MS, searched) is None
    assert own_prices({"a": ONE["a"] | {"web_search": 10}}).cost_e6("a", START_MS, searched) >= 30_000


@pytest.mark.parametrize(
    "name",
    [
        *("claude-opus-4-8-haiku", "claude-sonnet-4-5-turbo", "claude-opus-4-8-x-20260101", "claude-opus-4-10"),
        *("claude-sonnet-4-50", "claude-3-7-sonnet-2", "gpt-5.99"),
    ],
)
def test_a_name_that_only_begins_like_a_model_has_no_price(name):
    assert PriceList().find(name, AT_MS) is None


@pytest.mark.parametrize(
    "name", ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-latest", "claude-sonnet-4-5[1m]"]
)
def test_dates_and_versions_are_the_same_model(name):
    assert PriceList().find(name, AT_MS).rates == PriceList().find("claude-sonnet-4-5", AT_MS).rates


@pytest.mark.parametrize("model", ["claude-opus-4-8", "gpt-5.5"])
def test_a_name_that_tells_the_speed_has_the_price_of_that_speed(model):
    at_ms = 1_790_000_000_000
    fast, standard = PriceList().find(f"{model}-fast", at_ms), PriceList().find(model, at_ms)

    assert fast.rates == PriceList().find(model, at_ms, "fast").rates != standard.rates
    assert (fast.model, "its name tells the speed" in fast.source) == (f"{model}-fast", True)


def test_a_name_that_price_lists_lack_has_the_price_that_is_assumed_for_its_day():
    day = 86_400_000
    july = 1_783_555_200_000  # 2026-07-09
    prices = PriceList()
    found = [prices.find("codex-auto-review", at_ms) for at_ms in (AT_MS, july - day, july)]

    assert found[0] is None
    assert [price.rates for price in found[1:]] == [
        prices.find(name, july).rates for name in ("gpt-5.5", "gpt-5.6-luna")
    ]
    assert found[2].source.endswith("(gpt-5.6-luna), assumed")
    assert prices.find("gpt-5.3-codex-spark", july).rates == prices.find("gpt-5.3-codex", july).rates


def test_every_assumed_model_has_a_price_on_its_first_day():
    for name, entries in pricing._aliases().items():
        for entry in entries:
            at_ms = int(datetime.combine(entry["since"], time(), tzinfo=UTC).timestamp() * 1000)
            assert PriceList().find(name, at_ms) is not None, (name, entry)


@pytest.mark.parametrize(("name", "dollars"), [("glm-4.6", 0.6), ("GLM-4.7", 0.6), ("litellm/glm-4.6", 0.6)])
def test_a_model_of_z_ai_has_the_price_in_dollars(name, dollars):
    assert PriceList().cost_e6(name, START_MS, Tokens(1_000_000, None, None, None, None)) == dollars * 1_000_000


@pytest.mark.parametrize("name", ["litellm/no-such-model", "copilot/claude-opus-4-8-haiku", "a/b/", "databricks-"])
def test_a_gateway_gives_no_price_to_a_model_without_one(name):
    assert PriceList().find(name, START_MS) is None
