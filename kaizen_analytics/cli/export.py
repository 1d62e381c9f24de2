"""`export`: what may leave this machine, as files, in a lake, or to a collector."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.lake import LakeKeyOption, default_key
from kaizen_analytics.cli.options import (
    JsonOption,
    StoreOption,
    WorkspaceOption,
    choose_scope,
    command,
    find_repository,
    locate,
)
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.cli.redact import KeyOption, open_redactor
from kaizen_analytics.cli.retro import parse_window
from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.core.settings import find_home
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.exports.columns import LAKE_TABLES, LakeTable
from kaizen_analytics.exports.files import Format, deliver
from kaizen_analytics.exports.lake.export import LakeExport, export_lake
from kaizen_analytics.exports.lake.reading import load_lake_key, make_lake_key
from kaizen_analytics.exports.otlp import find_collector, send_totals
from kaizen_analytics.exports.tables import Export, export_retro, export_table
from kaizen_analytics.redact import Redactor
from kaizen_analytics.reports.sharing import list_tracked
from kaizen_analytics.retro.retro import compute_retro
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.store import Store

_ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FILE|URL|-",
        help="A file, by its ending .md, .json, .csv or .parquet; a folder or an object store (s3://, gs://, az://), "
        "which take .csv and .parquet; or - for standard output.",
    ),
]
_FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="md|json|csv|parquet", help="The format. Default: by the ending of the file."),
]
_TextOption = Annotated[
    bool, typer.Option("--with-text", help="Let names and free text leave too, without secrets and people.")
]

app = typer.Typer()
_group = typer.Typer(no_args_is_help=True, help="Write what may leave this machine to files, redacted.")
app.add_typer(_group, name="export")


@command(_group, "retro", "export retro --week 2026-W47 --to retro.md")
def _retro(
    *,
    to: _ToOption,
    store: StoreOption = None,
    days: Annotated[int | None, typer.Option(help="The last whole days. Default: 28.")] = None,
    week: Annotated[str | None, typer.Option(metavar="WEEK", help="An ISO week instead, such as 2026-W47.")] = None,
    workspace: WorkspaceOption = None,
    form: _FormatOption = None,
    with_text: _TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the findings of a retro, to be pasted into a pull request, an issue tracker or a chat.

    Files that git tracks in this repository and common tools are named; every other name becomes a pseudonym
    such as name-3fa94b1c22, unless --with-text. The retro is not stored.
    """
    redactor, now_ms = open_redactor(key), read_clock()
    window, location = parse_window(days, week, now_ms), locate(store)
    scope = choose_scope(location, workspace)
    root = find_repository(scope)
    with Store.open(location.path, read_only=True, ours=True) as opened:
        repository = None if scope is None else str(scope)
        found = compute_retro(opened, window, now_ms=now_ms, repository=repository, root=root)
    tracked = frozenset() if root is None else list_tracked(root)
    made = export_retro(found, Wording(redactor=redactor, with_text=with_text, tracked=tracked))
    _deliver(made, to, form, redactor, as_json=as_json)
    if any("name-" in str(row["title"]) for row in made.frame.iter_rows(named=True)):
        print("note: names that are not public are pseudonyms; --with-text shows them, redacted", file=sys.stderr)


@command(_group, "sessions", "export sessions --to sessions.parquet")
def _sessions(
    *,
    to: _ToOption,
    store: StoreOption = None,
    form: _FormatOption = None,
    with_text: _TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one row for each session, sub-agents apart."""
    _export("sessions", to, store, form, key, with_text=with_text, as_json=as_json)


@command(_group, "metrics", "export metrics --to metrics.parquet", "export metrics --to otlp://localhost:4318")
def _metrics(
    *,
    to: _ToOption,
    store: StoreOption = None,
    form: _FormatOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every metric of every session, sub-agents counted with the session that started them.

    With --to otlp://HOST[:PORT], otlps:// or https://, send the tokens and cost of each session to an OpenTelemetry
    collector instead. This needs the extra [otel].
    """
    collector = find_collector(to)
    if collector is None:
        _export("metrics", to, store, form, key, with_text=False, as_json=as_json)
        return
    if form is not None:
        raise ConfigError("--format is for files; leave it out for a collector.")
    redactor, now_ms = open_redactor(key), read_clock()
    with Store.open(locate(store).path, read_only=True, ours=True) as opened:
        made = export_table(opened, "sessions", redactor, now_ms=now_ms)
    points = send_totals(made, collector, redactor.scanner, now_ms=now_ms)
    if as_json:
        print_json({"schema": made.table.label, "sessions": made.frame.height, "points": points, "out": collector})
    else:
        print(f"Sent {points:,} totals of {made.frame.height:,} sessions to {collector}")


@command(_group, "experiments", "export experiments --to experiments.parquet")
def _experiments(
    *,
    to: _ToOption,
    store: StoreOption = None,
    form: _FormatOption = None,
    with_text: _TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one row for each metric of each experiment, with its change, interval and verdict."""
    _export("experiments", to, store, form, key, with_text=with_text, as_json=as_json)


@command(
    _group,
    "lake",
    "export lake --make-key",
    "export lake --to /mnt/team/lake",
    "export lake --to s3://team/lake --preview",
)
def _lake(
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A folder, file:///…, or an object store: s3://, gs://, az://, abfss://."),
    ] = None,
    store: StoreOption = None,
    lake_key: LakeKeyOption = None,
    make_key: Annotated[
        bool, typer.Option("--make-key", help="Make the key, once, on the first machine; the others copy the file.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="List the files that would be written; nothing leaves.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the facts that metrics and experiments need into a lake that many machines share.

    No text and no path leaves; people, workspaces, branches and sessions leave as pseudonyms under the lake key. Only
    what changed since the last export is written.
    """
    key_file = lake_key or default_key()
    if make_key:
        make_lake_key(key_file)
        if as_json and to is None:
            print_json({"lake_key": str(key_file)})
        else:  # beside the result of an export, which may be one JSON document
            copy = "Copy it to every machine of the lake, and keep it private."
            print(f"Made the lake key {key_file}. {copy}", file=sys.stderr)
    elif to is None:
        raise ConfigError("export lake needs --to URL: a folder or an object store.")
    if to is None:
        return
    home = find_home(os.environ, Path.home())
    done = export_lake(locate(store).path, to, load_lake_key(key_file), home=home, preview=preview)
    if as_json:
        print_json(_describe_lake(to, done))
    elif preview:
        _show_preview(done)
    else:
        print(
            f"Wrote {len(done.files):,} files with {done.rows:,} rows ({done.bytes / 1e6:,.1f} MB) to {to}; "
            f"{done.files_kept:,} were up to date, {done.files_removed:,} replaced or left over were removed."
        )


def _export(
    name: str, to: str, store: Path | None, form: str | None, key: Path | None, *, with_text: bool, as_json: bool
) -> None:
    redactor = open_redactor(key)
    with Store.open(locate(store).path, read_only=True, ours=True) as opened:
        made = export_table(opened, name, redactor, now_ms=read_clock(), with_text=with_text)
    _deliver(made, to, form, redactor, as_json=as_json)


def _deliver(made: Export, to: str, form: str | None, redactor: Redactor, *, as_json: bool) -> None:
    names = [one.value for one in Format]
    if form is not None and form.lower() not in names:
        raise ConfigError(f"--format is {form!r}; expected {', '.join(names)}.{did_you_mean(form, names)}")
    place, written = deliver(made, to, None if form is None else Format(form.lower()), redactor.scanner)
    if place is None:
        sys.stdout.buffer.write(written)
        sys.stdout.buffer.flush()
    elif as_json:
        print_json({"schema": made.table.label, "rows": made.frame.height, "out": place, "bytes": len(written)})
    else:
        print(f"Wrote {made.frame.height:,} rows of {made.table.label} to {place}")


def _describe_lake(to: str, done: LakeExport) -> dict[str, object]:
    counts = {"files_written": len(done.files), "files_kept": done.files_kept, "files_removed": done.files_removed}
    files = [asdict(file) for file in done.files]
    return {"to": to, "source": done.source, **counts, "rows": done.rows, "bytes": done.bytes, "files": files}


def _show_preview(done: LakeExport) -> None:
    print_table(["file", "rows", "bytes"], [(file.name, file.rows, file.bytes) for file in done.files])
    for name in dict.fromkeys(file.table_name for file in done.files):
        print(f"{name}: {', '.join(LAKE_TABLES[LakeTable(name)].schema)}")
    print(
        f"{len(done.files):,} files to write, {done.files_kept:,} up to date, {done.files_removed:,} no longer valid."
    )
