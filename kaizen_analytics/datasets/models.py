"""Names of models that anybody may see: those on the price list."""

from __future__ import annotations

from functools import cache

_PROVIDERS = {"claude": "anthropic", "gpt": "openai", "codex": "openai", "o": "openai"}


@cache
def model_ids() -> frozenset[str]:
    """Return the names that the price list gives to the models it knows."""
    from genai_prices import data_snapshot

    return frozenset(model.id for provider in data_snapshot.get_snapshot().providers for model in provider.models)


@cache
def find_model_id(model: str) -> str | None:
    """Return the price list's name of a model, such as `claude-opus-4-5` for a dated release; None if unlisted."""
    import genai_prices

    provider = next((name for prefix, name in _PROVIDERS.items() if model.startswith(prefix)), None)
    usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
    try:
        return genai_prices.calc_price(usage, model, provider_id=provider).model.id
    except LookupError:
        return None
