"""`init`: make a store."""

from __future__ import annotations

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog="Example: kaizen-analytics init --store team.db")(init)


def init(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Create a store, or bring an existing one up to date.

    kaizen-cli can use the same file; its tables are created where they are missing and never altered.
    """
    from kaizen_analytics.store import Store

    location = locate(store)
    existed = location.path.exists()
    Store.open(location.path, create=True).close()
    if as_json:
        print_json({"store": str(location.path), "created": not existed})
    else:
        print(f"{'Store is up to date' if existed else 'Created a store'}: {location.path}")
