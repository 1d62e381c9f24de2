"""`prices`: what the models of a store were billed at, and which models have none."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from kaizen_analytics.cli.ingest import PricesOption
from kaizen_analytics.cli.options import StoreOption, command, open_store
from kaizen_analytics.cli.output import print_table
from kaizen_analytics.ingest.pricing import ModelPrice, PriceList, last_use_of_models, name_at_speed

_PRICE_FILE = """
\b
A price file holds dollars per million tokens for each model:
  {"my-model": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write_5m": 3.75, "cache_write_1h": 6}}
"""
_RATES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

app = typer.Typer()


@command(app, "prices", "prices", "prices --prices mine.json", after=_PRICE_FILE)
def _prices(*, store: StoreOption = None, prices: PricesOption = None) -> Iterator[object]:
    """Show the prices of a store's models, per million tokens.

    In dollars, on the day each was last used. A model without a price has no cost; 'ingest --prices FILE --full'
    applies prices of your own.
    """
    listed = PriceList.load(prices)
    with open_store(store) as opened:
        used = last_use_of_models(opened)
    found = [
        (name_at_speed(model, speed), responses, listed.find(model, at_ms, speed))
        for model, speed, responses, at_ms in used
    ]
    yield {"models": [_as_json(*row) for row in found]}
    columns = ("model", "responses", "input", "output", "cache read", "write 5 min", "write 1 h", "source")
    rows = [(model, responses, *_cells(price)) for model, responses, price in found]
    print_table(columns, rows, droppable=("write 1 h", "write 5 min", "responses", "cache read"), empty="No model.")


def _as_json(model: str, responses: int, price: ModelPrice | None) -> dict[str, object]:
    rates = None
    if price is not None:
        rates = {name: [[start, float(usd)] for start, usd in rate.steps] for name, rate in price.rates.items()}
    return {"model": model, "responses": responses, "source": price and price.source, "rates": rates}


def _cells(price: ModelPrice | None) -> tuple[object, ...]:
    if price is None:
        return (*[None] * len(_RATES), "unknown: these responses have no cost")
    steps = (price.rates[name].steps if name in price.rates else () for name in _RATES)
    return (*(" / ".join(f"{usd:g}" for _, usd in rate) or None for rate in steps), price.source)
