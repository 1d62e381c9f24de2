"""Dollars of one response: `genai-prices` by model and day, or a file of the user's own prices.

A model that neither knows costs None and is named in a warning. For a few names that price lists lack,
`price_aliases.toml` says which model's price is assumed, and the price says so. Prices are looked up once per model and
day, then applied to each response, because tiers depend on the response's own size.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import cache, cached_property
from importlib.util import find_spec
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.times import CALENDAR_MS, DAY_MS
from kaizen_analytics.ingest.records import MAX_INTEGER

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, PriceCalculation, PriceVariant

    from kaizen_analytics.ingest.records import Tokens
    from kaizen_analytics.store import Store

_ALIASES = "price_aliases.toml"
_NOT_RECORDED = "(not recorded)"
"""Stands for the model of responses whose transcript does not name it."""

_UNIT = 10**9
"""Prices are multiplied as whole numbers of 1e-9 dollars per million tokens: exact, and much faster than Decimal."""

_PROVIDERS = {
    "claude": "anthropic",
    "glm": "zai",
    **dict.fromkeys(("gpt", "codex", "o1", "o3", "o4"), "openai"),
}
_BEDROCK = re.compile(r"(?:^|[./])(?:anthropic|amazon|meta|mistral|openai|qwen|deepseek|moonshotai?)\.")
"""How Amazon Bedrock spells a model, alone, with a region, or at the end of an ARN."""

_ROUTES = {
    **{name: name for name in ("anthropic", "azure", "openai", "openrouter")},
    "bedrock": "aws",
    "vertex": "google",
    "vertex_ai": "google",
}
"""What gateways put before a model's name and a slash, and who sells it then."""

_GATEWAY = re.compile(r"[^/]+/|databricks-")
"""What stands before the name of a model where it changes no price."""

_LONG_CONTEXT = "[1m]"
"""Claude Code's mark of a model that was asked for with a long context; prices go by a response's own size."""

_VERSION = re.compile(r"(?:[-@:.](?:latest|default|preview|beta|thinking|v\d+(?::\d)?|\d{4}-\d\d-\d\d|\d{3,}|0))*")
"""What may follow a model's name without making it another model: a date, a version, or nothing."""

_NUMBER_BEGUN = re.compile(r"[-@:.]?\d*$")

_FAST = "-fast"
"""Some programs write the speed into the model's name."""

_SPEED_KEYS = ("speed", "service_tier")
"""What Anthropic and OpenAI call it."""

_FIELDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_SEARCHES = "web_search"
"""The price of a thousand searches of the web."""

_US_TENTHS = 11
"""What Anthropic's models cost where a response must be computed in the United States, in tenths of the list price."""

_FIELD_OF_KEY = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h",
    "web_searches_kcount": _SEARCHES,
}


class _Rate(NamedTuple):
    """Dollars per million tokens, by the size of the response's input: (tokens above which it holds, price)."""

    steps: tuple[tuple[int, Decimal], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """One model's prices on one day; `source` says where they come from."""

    model: str
    source: str
    rates: dict[str, _Rate]
    _steps: tuple[tuple[tuple[int, int], ...], ...] = field(init=False, repr=False, compare=False)
    _base: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _first_tier: float = field(init=False, repr=False, compare=False)
    """The size of input above which some price changes."""

    def __post_init__(self) -> None:
        steps = tuple(tuple((start, _units(usd)) for start, usd in self._rate(name).steps) for name in _FIELDS)
        object.__setattr__(self, "_steps", steps)
        object.__setattr__(self, "_base", tuple(kind[0][1] for kind in steps))
        tiers = [start for kind in steps for start, _ in kind[1:]]
        object.__setattr__(self, "_first_tier", min(tiers, default=math.inf))

    def cost_e6(self, tokens: Tokens, *, is_sum: bool = False, in_us: bool = False) -> int | None:
        """Return the cost of one response in millionths of a dollar, rounded half up; None beyond what SQLite holds.

        Without a price for cache reads or writes of its own, a model bills them as input. Without one for searches, a
        response that made some has no cost. `in_us`: it had to be computed in the United States.
        """
        given, written, read, output, reasoning, hour, searches = tokens
        given, written, read = given or 0, written or 0, read or 0
        whole_input = given + written + read
        has_base = is_sum or whole_input <= self._first_tier
        prices = self._base if has_base else [_price_at(steps, whole_input) for steps in self._steps]
        counts = (given, (output or 0) + (reasoning or 0), read, written - hour, hour)
        total = sum(map(mul, prices, counts))
        if in_us:
            total = total * _US_TENTHS // 10
        if searches:
            price = self.rates.get(_SEARCHES)
            if price is None:
                return None
            total += searches * 1000 * _units(price.steps[0][1])
        rounded = (_UNIT // 2 + total) // _UNIT
        return rounded if rounded <= MAX_INTEGER else None

    def _rate(self, name: str) -> _Rate:
        found = self.rates.get(name)
        if found is None and name == "cache_write_1h":
            found = self.rates.get("cache_write_5m")
        return found or self.rates["input"]


def _units(usd: Decimal) -> int:
    return int((usd * _UNIT).to_integral_value())


def _price_at(steps: tuple[tuple[int, int], ...], input_tokens: int) -> int:
    """Return the price for a response whose whole input has this many tokens."""
    return next(price for start, price in reversed(steps) if start == 0 or input_tokens > start)


class PriceList:
    """Prices by model and day. `unknown` collects the models that had none."""

    def __init__(self, overrides: dict[str, ModelPrice] | None = None, memory: Path | None = None) -> None:
        self._overrides = overrides or {}
        self._memory = memory
        self.unknown: set[str] = set()

    @classmethod
    def load(cls, path: Path | None, *, cache: Path | None = None) -> PriceList:
        """Return the price list, with the user's own prices from a JSON file in front, if given.

        The file is an object: model name -> dollars per million tokens, with `input` and `output` and, where they
        differ, `cache_read`, `cache_write_5m`, `cache_write_1h`. What genai-prices answers is kept in the folder
        `cache`, because it takes a quarter of a second to import.

        Raises:
            ConfigError: the file cannot be read or a price in it is not a number >= 0.
        """
        return cls({} if path is None else _read_overrides(path), None if cache is None else cache / _memory_name())

    @cached_property
    def _found(self) -> dict[tuple[str, int], ModelPrice | None]:
        return {} if self._memory is None else _read_memory(self._memory)

    def find(self, model: str, at_ms: int, speed: str | None = None) -> ModelPrice | None:
        """Return a model's prices on the day of `at_ms`, or None (and remember the model) where nobody knows them.

        A response that was bought at another `speed` than the standard one has the model's prices for that speed, or
        none: the standard price would be a guess.
        """
        day = min(max(at_ms, CALENDAR_MS.start), CALENDAR_MS.stop) // DAY_MS
        key = (name_at_speed(model, speed) if speed else model, day)
        if key[0] in self._overrides:
            return self._overrides[key[0]]
        if key in self._found:
            price = self._found[key]
        else:
            price = self._found[key] = _price_of(model, day, speed)
            if self._memory is not None:
                _remember(self._memory, key, price)
        if price is None:
            self.unknown.add(key[0])
        return price

    def cost_e6(
        self, model: str | None, at_ms: int, tokens: Tokens, speed: str | None = None, *,
        is_sum: bool = False, in_us: bool = False,
    ) -> int | None:  # fmt: skip
        """Return the cost of a response in millionths of a dollar, or None where its model or tokens are unknown.

        A sum over several responses (`is_sum`) has the price of small ones: its size says nothing about theirs.
        """
        if not any(tokens):
            return 0 if any(count is not None for count in tokens[:5]) else None
        if model is None:
            self.unknown.add(_NOT_RECORDED)
            return None
        price = self.find(model, at_ms, speed)
        return None if price is None else price.cost_e6(tokens, is_sum=is_sum, in_us=in_us)


def _memory_name() -> str:
    """Return the name of the file of prices that were looked up, which changes with everything that they rest on."""
    place = find_spec("genai_prices")
    listed = Path(place.origin or "").parent if place is not None else Path()
    looks = [path.stat() for path in (listed / "data.py", Path(__file__), Path(__file__).with_name(_ALIASES))]
    text = " ".join(f"{look.st_size}:{look.st_mtime_ns}" for look in looks)
    return f"prices-{zlib.crc32(text.encode()):08x}.jsonl"


def _read_memory(memory: Path) -> dict[tuple[str, int], ModelPrice | None]:
    """Read what `_remember` wrote; a file with a broken line is begun anew."""
    found: dict[tuple[str, int], ModelPrice | None] = {}
    met: dict[str, ModelPrice | None] = {}  # prices seldom change from day to day
    try:
        for line in memory.read_text(encoding="utf-8").splitlines():
            name, day, *price = json.loads(line)
            text = str(price)
            if text not in met:
                model, source, told = price
                rates = {
                    field: _Rate(tuple((start, Decimal(usd)) for start, usd in steps)) for field, steps in told.items()
                }
                met[text] = ModelPrice(model=model, source=source, rates=rates) if rates else None
            found[name, day] = met[text]
    except OSError:
        return {}
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, RecursionError):
        with suppress(OSError):
            memory.unlink()
    return found


def _remember(memory: Path, key: tuple[str, int], price: ModelPrice | None) -> None:
    rates = {} if price is None else price.rates
    told = {name: [(start, str(usd)) for start, usd in rate.steps] for name, rate in rates.items()}
    line = json.dumps([*key, price and price.model, price and price.source, told])
    with suppress(OSError):  # a cache that cannot be written costs time only
        memory.parent.mkdir(parents=True, exist_ok=True)
        with memory.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def name_at_speed(model: str | None, speed: str | None) -> str:
    """Return the name that a model's price goes by: `claude-opus-5 (fast)` is not `claude-opus-5`.

    >>> name_at_speed("claude-opus-5", "fast"), name_at_speed(None, None)
    ('claude-opus-5 (fast)', '(not recorded)')
    """
    name = model or _NOT_RECORDED
    return f"{name} ({speed})" if speed else name


def last_use_of_models(store: Store) -> list[tuple[str, str | None, int, int]]:
    """Return each model of a store's responses, its speed, how many it gave, and when it last did (epoch ms).

    The speed is None for the standard one.

    >>> [(model, responses > 10) for model, _, responses, _ in last_use_of_models(store)]
    [('claude-haiku-4-5-20251001', True), ('claude-sonnet-4-5-20250929', True), ('gpt-5-codex', True)]
    """
    rows = store.native(
        "select coalesce(payload->>'model', ?), payload->>'speed', count(*), max(ts_ms) from events"
        " where kind = 'Message' and coalesce(tokens_in, tokens_out, cache_read_tokens) is not null"
        " and json_valid(payload) group by 1, 2 order by 1, 2",
        _NOT_RECORDED,
    )
    return [(str(model), speed, int(n or 0), int(at or 0)) for model, speed, n, at in rows if model != "<synthetic>"]


def _price_of(model: str, day: int, speed: str | None) -> ModelPrice | None:
    """Return what is listed or assumed for a name, or else for what is left of it without a gateway's."""
    found = _look_up(model, day, speed) or _assumed(model, day, speed)
    gateway = _GATEWAY.match(model)
    return _price_of(model[gateway.end() :], day, speed) if found is None and gateway is not None else found


def _assumed(model: str, day: int, speed: str | None) -> ModelPrice | None:
    """Return the price that is assumed for a name: that of another model, or of the same one at the speed it names."""
    model = model.removesuffix(_LONG_CONTEXT)
    if speed is None and model.endswith(_FAST):
        found, how = _look_up(model.removesuffix(_FAST), day, "fast"), "its name tells the speed"
    else:
        at = datetime.fromtimestamp(day * 86_400, tz=UTC).date()
        names = [entry["model"] for entry in _aliases().get(model, ()) if entry["since"] <= at]
        found, how = (_look_up(names[-1], day, speed) if names else None), "assumed"
    return None if found is None else replace(found, model=name_at_speed(model, speed), source=f"{found.source}, {how}")


@cache
def _aliases() -> dict[str, list[dict[str, Any]]]:
    text = Path(__file__).with_name(_ALIASES).read_text(encoding="utf-8")
    found: dict[str, list[dict[str, Any]]] = tomllib.loads(text)
    for entries in found.values():
        entries.sort(key=_since)
    return found


def _since(entry: dict[str, Any]) -> date:
    since: date = entry["since"]
    return since


def _is_model(name: str, model: ModelInfo) -> bool:
    """Return whether a name means a model, where the list may have matched its beginning only.

    `claude-opus-4-8-20260101` is `claude-opus-4-8`; `claude-opus-4-8-fast` is not.
    """
    clauses = getattr(model.match, "or_", [model.match])
    for clause in clauses:
        part = getattr(clause, "starts_with", None) or getattr(clause, "contains", None)
        if part is None:
            if clause.is_match(name):
                return True
        elif part in name:
            rest = name.partition(part.rstrip("@-"))[2]
            if rest[:1].isdigit() and (begun := _NUMBER_BEGUN.search(part)):
                rest = begun[0] + rest  # the list names the beginning of a date
            if _VERSION.fullmatch(rest):
                return True
    return False


def _look_up(model: str, day: int, speed: str | None = None) -> ModelPrice | None:
    """Ask genai-prices, whose prices have dates, tiers and, for some models, variants by speed."""
    import genai_prices

    moment = datetime.fromtimestamp(day * 86_400, tz=UTC)
    found = _find_offer(model, moment, speed)
    if found is None:
        return None
    given = vars(found.model_price)
    rates = {name: _rate_of(given[key]) for key, name in _FIELD_OF_KEY.items() if given.get(key) is not None}
    if "input" not in rates or "output" not in rates:
        return None
    named = f"{found.model.id}, {speed}" if speed else found.model.id
    source = f"genai-prices {genai_prices.__version__} ({named})"
    return ModelPrice(model=name_at_speed(model, speed), source=source, rates=rates)


def _find_offer(model: str, moment: datetime, speed: str | None) -> PriceCalculation | None:
    """Return the prices of a name as it is, else as a gateway's: `bedrock/anthropic.x`, `vertex_ai/x@version`."""
    route, _, routed = model.partition("/")
    seller = _provider_of(model)
    # How a cloud spells a model tells it, whatever addresses it: a route, an ARN, a publisher.
    plain = model.rpartition("/")[2] if seller in ("aws", "google") else model
    offers = [(seller, plain), *([(_ROUTES[route], routed)] if route in _ROUTES else [])]
    for provider, name in offers:
        with suppress(LookupError):
            found = _calculate(name, moment, speed, provider)
            if not _is_model(name.removesuffix(_LONG_CONTEXT).lower(), found.model):
                continue
            if not speed or _sells_at(found.model, speed, moment):
                return found
            verified = _first_verified(found.model, speed)
            if verified is not None and found.model.get_prices(moment) == found.model.get_prices(verified):
                return _calculate(name, verified, speed, provider)
    return None


def _calculate(model: str, moment: datetime, speed: str | None, provider: str | None) -> PriceCalculation:
    import genai_prices

    return genai_prices.calc_price(
        genai_prices.Usage(input_tokens=1, output_tokens=1),
        model.removesuffix(_LONG_CONTEXT),
        provider_id=provider,
        genai_request_timestamp=moment,
        price_context=dict.fromkeys(_SPEED_KEYS, speed) if speed else None,
    )


def _provider_of(model: str) -> str | None:
    """Return who sells a model, by its spelling: `us.anthropic.x`, `x@version`, `vendor/x`, or the vendor's own."""
    if _BEDROCK.search(model):
        return "aws"
    if model.rpartition("/")[2].startswith("claude-") and "@" in model:
        return "google"
    if "/" in model:
        return "openrouter"
    return next((name for prefix, name in _PROVIDERS.items() if model.lower().startswith(prefix)), None)


def _variants(model: ModelInfo, speed: str) -> list[PriceVariant]:
    return [variant for variant in model.price_variants or () if speed in map(variant.when.get, _SPEED_KEYS)]


def _sells_at(model: ModelInfo, speed: str, moment: datetime) -> bool:
    return any(variant.constraint is None or variant.constraint.active(moment) for variant in _variants(model, speed))


def _first_verified(model: ModelInfo, speed: str) -> datetime | None:
    """Return the day from which genai-prices has OpenAI's price of a service tier: when someone first looked.

    OpenAI sold the tiers long before. Where the standard price was the same, the tier's was.
    """
    days = [
        getattr(variant.constraint, "start_date", None)
        for variant in _variants(model, speed)
        if "service_tier" in variant.when
    ]
    known = [day for day in days if day is not None]
    return datetime.combine(min(known), time(), tzinfo=UTC) if known else None


def _rate_of(price: Any) -> _Rate:  # noqa: ANN401 - Decimal or TieredPrices, an import we avoid
    if isinstance(price, Decimal):
        return _Rate(((0, price),))
    return _Rate(((0, price.base), *((tier.start, tier.price) for tier in price.tiers)))


def _read_overrides(path: Path) -> dict[str, ModelPrice]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal, parse_int=Decimal)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"Cannot read prices from {path}: {error}. Expected a JSON object of models.") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path} holds {type(record).__name__}; expected an object of model -> prices.")
    return {model: _override(path, model, prices) for model, prices in record.items()}


def _override(path: Path, model: str, prices: object) -> ModelPrice:
    if (
        not isinstance(prices, dict)
        or not {"input", "output"} <= prices.keys()
        or not prices.keys() <= {*_FIELDS, _SEARCHES}
    ):
        raise ConfigError(
            f"{path}: {model!r} has {prices!r}; expected dollars per million tokens under input and output, and "
            f"optionally {', '.join(_FIELDS[2:])}, and {_SEARCHES} (a thousand searches).",
        )
    return ModelPrice(
        model=model,
        source=str(path),
        rates={name: _Rate(((0, _dollars(path, model, value)),)) for name, value in prices.items()},
    )


def _dollars(path: Path, model: str, value: object) -> Decimal:
    try:
        dollars = Decimal(str(value))
    except InvalidOperation:
        dollars = Decimal(-1)
    if isinstance(value, bool) or not dollars.is_finite() or dollars < 0:
        raise ConfigError(f"{path}: a price of {model!r} is {value!r}; expected a number >= 0.")
    return dollars
