"""`sync`: send projected facts to a lake or an HTTP endpoint; off until somebody enables it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import clean, print_json, print_table
from kaizen_analytics.cli.times import read_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.store import Store
    from kaizen_analytics.sync.delivery import Timing, Waiting
    from kaizen_analytics.sync.settings import Settings

_CONFIGURE = """\b
Examples:
  kaizen-analytics sync configure --to https://metrics.example.org/kaizen --token-env KAIZEN_SYNC_TOKEN
  kaizen-analytics sync configure --enable
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Send facts about sessions to a lake or an endpoint; off by default."
    )
    group.command(epilog=_CONFIGURE)(configure)
    group.command("preview", epilog="Example: kaizen-analytics sync preview --json > what-would-leave.json")(preview)
    group.command(epilog="Example: kaizen-analytics sync run")(run)
    group.command(epilog="Example: kaizen-analytics sync status --json")(status)
    app.add_typer(group, name="sync")


def configure(
    *,
    store: StoreOption = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="An HTTPS endpoint, or a lake: a folder, s3://, gs://, az://."),
    ] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Turn sync on or off. A new destination starts off.")
    ] = None,
    tables: Annotated[
        str | None, typer.Option(metavar="NAMES", help="What an endpoint gets: sessions,metrics,experiments.")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The environment variable that holds a bearer token.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="The key of pseudonyms; for a lake, the lake's. Default: $KAIZEN_HOME."
        ),
    ] = None,
    allow_http: Annotated[
        bool | None, typer.Option("--allow-http/--no-allow-http", help="Allow an endpoint without encryption.")
    ] = None,
    batch_rows: Annotated[
        int | None, typer.Option(metavar="N", help="Rows of one request at most. Default: 500.")
    ] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="Seconds to wait for the endpoint. Default: 30.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say where to sync to, and turn sync on or off. Nothing is sent by this."""
    from kaizen_analytics.store import Store
    from kaizen_analytics.sync.delivery import configure as keep

    given = {
        "url": to,
        "enabled": enable,
        "tables": None if tables is None else tuple(name.strip() for name in tables.split(",")),
        "token_env": token_env,
        "key_file": None if key is None else str(key.expanduser().absolute()),
        "allow_http": allow_http,
        "batch_rows": batch_rows,
        "timeout_s": timeout_s,
    }
    with Store.open(locate(store).path) as opened:
        settings = _change(opened, {name: value for name, value in given.items() if value is not None})
        keep(opened, settings, now_ms=read_clock())
    if as_json:
        print_json(settings.to_json())
    else:
        print(_describe(settings))


def preview(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show exactly what 'sync run' would send now, byte for byte. Nothing is sent, and nothing is stored."""
    with _opened(store, read_only=True) as (opened, settings):
        is_lake = settings.is_lake
        document = _preview_lake(settings, opened.path) if is_lake else _preview_endpoint(opened, settings)
    if as_json:
        print_json(document)
    else:
        _print_preview(document)


def run(
    *,
    store: StoreOption = None,
    retry_parked: Annotated[
        bool, typer.Option("--retry-parked", help="Take the rows of parked batches again, as they are now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send what is new or changed, until everything is acknowledged; sync must be enabled.

    Safe to run at any time, from a scheduler too: a run that is killed is picked up by the next, under the same keys.
    """
    from kaizen_analytics.sync.delivery import require_enabled

    with _opened(store) as (opened, settings):
        require_enabled(settings)
        if settings.is_lake:
            document = _run_lake(settings, opened.path)
        else:
            document = _run_endpoint(opened, settings, retry_parked=retry_parked)
    if as_json:
        print_json(document)
    else:
        print(", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in document.items() if name != "url"))


def status(*, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show what was acknowledged, what waits for the next run, and what the endpoint refused for good."""
    from kaizen_analytics.sync.status import describe

    with _opened(store, read_only=True) as (opened, settings):
        document = describe(opened, settings)
    if as_json:
        print_json(document)
    else:
        _print_status(settings, document)


@contextmanager
def _opened(store: Path | None, *, read_only: bool = False) -> Iterator[tuple[Store, Settings]]:
    from kaizen_analytics.store import Store
    from kaizen_analytics.sync.delivery import load_settings

    with Store.open(locate(store).path, read_only=read_only) as opened:
        yield opened, load_settings(opened)


def _change(store: Store, given: dict[str, Any]) -> Settings:
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.store.outbox import load_sync_settings
    from kaizen_analytics.sync.settings import TABLES, Settings

    record = load_sync_settings(store)
    if record is None and "url" not in given:
        raise ConfigError("Sync is not configured yet; name a destination with --to URL.")
    former = record or {}
    if given.get("url", former.get("url")) != former.get("url"):
        former = {**former, "enabled": False}  # consent was for the other destination
    return Settings.from_json({"tables": TABLES, **former, **given})


def _make_redactor(settings: Settings) -> Redactor:
    from kaizen_analytics.redact import collect_identities, load_key, open_redactor

    key = None if settings.key_file is None else load_key(Path(settings.key_file))
    return open_redactor(collect_identities([Path.cwd()]), key)


def _preview_endpoint(store: Store, settings: Settings) -> dict[str, Any]:
    from kaizen_analytics.cli.cache import refresh_mirror
    from kaizen_analytics.sync.delivery import preview as look

    refresh_mirror(store.path)
    waiting = look(store, settings, _make_redactor(settings), now_ms=read_clock())
    return {
        "url": settings.url,
        "enabled": settings.enabled,
        "requests": [_show_request(settings, batch) for batch in waiting],
    }


def _show_request(settings: Settings, batch: Waiting) -> dict[str, Any]:
    from kaizen_analytics.sync.transport import make_headers

    token = {} if settings.token_env is None else {"Authorization": f"Bearer ${settings.token_env}"}
    return {
        "method": "POST",
        "headers": make_headers(batch.batch_key) | token,
        "state": batch.state,
        "table": batch.dataset,
        "rows": batch.rows,
        "bytes": len(batch.body.encode()),
        "body": batch.body,
    }


def _preview_lake(settings: Settings, path: Path) -> dict[str, Any]:
    from kaizen_analytics.lake import plan_export

    home, key = _lake_key(settings)
    plan = plan_export(path, settings.url, key, home=home)
    files = [
        {"name": file.name, "table": file.table_name, "rows": file.rows, "bytes": file.bytes, "columns": file.columns}
        for file in plan.files
    ]
    return {"url": settings.url, "enabled": settings.enabled, "source": plan.source, "files": files}


def _run_endpoint(store: Store, settings: Settings, *, retry_parked: bool) -> dict[str, Any]:
    from kaizen_analytics.cli.cache import refresh_mirror
    from kaizen_analytics.sync.delivery import deliver_all
    from kaizen_analytics.sync.settings import read_token
    from kaizen_analytics.sync.transport import HttpTransport

    refresh_mirror(store.path)
    timing = _make_timing()
    token = read_token(settings, os.environ)
    transport = HttpTransport(settings=settings, token=token, now_s=lambda: timing.now_ms() / 1000)
    outcome = deliver_all(store, settings, _make_redactor(settings), transport, timing, retry_parked=retry_parked)
    return {
        "url": settings.url,
        "batches_acknowledged": outcome.batches,
        "rows_acknowledged": outcome.rows,
        "batches_parked": outcome.parked,
    }


def _run_lake(settings: Settings, path: Path) -> dict[str, Any]:
    from kaizen_analytics.lake import export_lake

    home, key = _lake_key(settings)
    done = export_lake(path, settings.url, key, home=home)
    return {
        "url": settings.url,
        "files_written": done.files_written,
        "files_kept": done.files_kept,
        "files_removed": done.files_removed,
        "rows": done.rows,
        "bytes": done.bytes,
    }


def _lake_key(settings: Settings) -> tuple[Path, bytes]:
    from kaizen_analytics.lake import load_lake_key
    from kaizen_analytics.lake.keys import LAKE_KEY
    from kaizen_analytics.redact import find_key

    home = find_key().parent
    return home, load_lake_key(home / LAKE_KEY if settings.key_file is None else Path(settings.key_file))


def _make_timing() -> Timing:
    import random
    import time

    from kaizen_analytics.sync.delivery import Timing

    return Timing(now_ms=read_clock, sleep=time.sleep, random=random.random)


def _describe(settings: Settings) -> str:
    what = "the lake's tables" if settings.is_lake else ", ".join(settings.tables)
    state = "on" if settings.enabled else "off; look at 'sync preview', then turn it on with 'sync configure --enable'"
    return f"Sync of {what} to {clean(settings.url)} is {state}."


def _print_preview(document: dict[str, Any]) -> None:
    if "files" in document:
        columns = ("file", "table", "rows", "bytes")
        rows = [[file[name] for name in ("name", "table", "rows", "bytes")] for file in document["files"]]
        print_table(columns, rows, title=f"{len(rows)} files would go to {document['url']}")
        return
    for request in document["requests"]:
        print(f"{request['method']} {clean(document['url'])}")
        print("\n".join(f"{name}: {value}" for name, value in request["headers"].items()))
        print(f"\n{request['body']}\n")
    total = sum(request["bytes"] for request in document["requests"])
    print(f"{len(document['requests'])} requests, {total:,} bytes. Nothing was sent.")


def _print_status(settings: Settings, document: dict[str, Any]) -> None:
    print(_describe(settings))
    if settings.is_lake:
        print("A lake keeps its own catalogue; 'sync preview' shows what it lacks.")
        return
    columns = ("table", "rows acknowledged", "rows waiting", "rows parked", "last acknowledged")
    print_table(columns, [_status_row(row) for row in document["tables"]])
    _print_batches("Waiting", document["waiting"])
    _print_batches("Parked", document["parked"])


def _status_row(row: dict[str, Any]) -> tuple[object, ...]:
    at_ms = row["last_acknowledged_ms"]
    when = None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return row["table"], row["acknowledged_rows"], row["pending_rows"], row["parked_rows"], when


def _print_batches(title: str, batches: Sequence[dict[str, Any]]) -> None:
    for batch in batches:
        reason = clean(batch["reason"] or "not tried yet")
        print(f"{title}: {batch['table']}, {batch['rows']:,} rows, {batch['attempts']} attempts, {reason}")
