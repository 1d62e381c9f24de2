"""`export`: what may leave this machine, as files, in a lake, or to a collector."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.lake import LakeKeyOption, default_key
from kaizen_analytics.cli.options import (
    JsonOption,
    Options,
    StoreOption,
    WorkspaceOption,
    choose_scope,
    command,
    locate,
)
from kaizen_analytics.cli.output import print_json, print_table
from kaizen_analytics.cli.redact import KeyOption, open_redactor
from kaizen_analytics.core.errors import ConfigError, one_of
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
from kaizen_analytics.retro.retro import choose_window, compute_retro
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.store import Store

_TextOption = Annotated[
    bool, typer.Option("--with-text", help="Let names and free text leave too, without secrets and people.")
]


@dataclass(frozen=True, kw_only=True)
class _Target(Options):
    """Where a table goes, and from which store."""

    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FILE|URL|-",
            help="A file, by its ending .md, .json, .csv or .parquet; a folder or an object store (s3://, gs://, "
            "az://), which take .csv and .parquet; or - for standard output.",
        ),
    ]
    store: StoreOption = None
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="md|json|csv|parquet", help="The format. Default: by the ending of the file."),
    ] = None
    key: KeyOption = None
    as_json: JsonOption = False

    def send(self, name: str, *, with_text: bool = False) -> None:
        """Write a table of the store, as it may leave, to its place."""
        redactor = open_redactor(self.key)
        self.write(self.read(name, redactor, with_text=with_text), redactor)

    def read(self, name: str, redactor: Redactor, *, with_text: bool = False) -> Export:
        """Read a table as it may leave."""
        with Store.open(locate(self.store).path, read_only=True, ours=True) as opened:
            return export_table(opened, name, redactor, now_ms=read_clock(), with_text=with_text)

    def write(self, made: Export, redactor: Redactor) -> None:
        """Write a table to its place, and say so."""
        form = None if self.form is None else one_of("--format", self.form.lower(), Format)
        place, written = deliver(made, self.to, form, redactor.scanner)
        if place is None:
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()
        elif self.as_json:
            print_json({"schema": made.table.label, "rows": made.frame.height, "out": place, "bytes": len(written)})
        else:
            print(f"Wrote {made.frame.height:,} rows of {made.table.label} to {place}")


@command("export retro", "export retro --week 2026-W47 --to retro.md")
def _retro(
    *,
    days: Annotated[int | None, typer.Option(help="The last whole days. Default: 28.")] = None,
    week: Annotated[str | None, typer.Option(metavar="WEEK", help="An ISO week instead, such as 2026-W47.")] = None,
    workspace: WorkspaceOption = None,
    with_text: _TextOption = False,
    target: _Target,
) -> None:
    """Write a retro for a pull request, an issue tracker or a chat.

    Files that git tracks in this repository and common tools are named; every other name becomes a pseudonym
    such as name-3fa94b1c22, unless --with-text. The retro is not stored.
    """
    redactor, now_ms = open_redactor(target.key), read_clock()
    window, location = choose_window(days, week, now_ms), locate(target.store)
    repository, root = choose_scope(location, workspace)
    with Store.open(location.path, read_only=True, ours=True) as opened:
        found = compute_retro(opened, window, now_ms=now_ms, repository=repository, root=root)
    tracked = frozenset() if root is None else list_tracked(root)
    made = export_retro(found, Wording(redactor=redactor, with_text=with_text, tracked=tracked))
    target.write(made, redactor)
    if any("name-" in str(row["title"]) for row in made.frame.iter_rows(named=True)):
        print("note: names that are not public are pseudonyms; --with-text shows them, redacted", file=sys.stderr)


@command("export sessions", "export sessions --to sessions.parquet")
def _sessions(*, with_text: _TextOption = False, target: _Target) -> None:
    """Write one row for each session, sub-agents apart."""
    target.send("sessions", with_text=with_text)


@command("export metrics", "export metrics --to metrics.parquet", "export metrics --to otlp://localhost:4318")
def _metrics(*, target: _Target) -> None:
    """Write every metric of every session.

    Sub-agents count with the session that started them. With --to otlp://HOST[:PORT], otlps:// or https://, send the
    tokens and cost of each session to an OpenTelemetry collector instead. This needs the extra [otel].
    """
    collector = find_collector(target.to)
    if collector is None:
        target.send("metrics")
        return
    if target.form is not None:
        raise ConfigError("--format is for files; leave it out for a collector.")
    redactor = open_redactor(target.key)
    made = target.read("sessions", redactor)
    points = send_totals(made, collector, redactor.scanner, now_ms=read_clock())
    if target.as_json:
        print_json({"schema": made.table.label, "sessions": made.frame.height, "points": points, "out": collector})
    else:
        print(f"Sent {points:,} totals of {made.frame.height:,} sessions to {collector}")


@command("export experiments", "export experiments --to experiments.parquet")
def _experiments(*, with_text: _TextOption = False, target: _Target) -> None:
    """Write one row for each metric of each experiment.

    With its change, interval and verdict.
    """
    target.send("experiments", with_text=with_text)


@command(
    "export lake",
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
    """Write the facts into a lake that many machines share.

    The facts that metrics and experiments need. No text and no path leaves; people, workspaces, branches and sessions
    leave as pseudonyms under the lake key. Only what changed since the last export is written.
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
        counts = {"files_written": len(done.files), "files_kept": done.files_kept, "files_removed": done.files_removed}
        files = [asdict(file) for file in done.files]
        sums = {"rows": done.rows, "bytes": done.bytes}
        print_json({"to": to, "source": done.source, **counts, **sums, "files": files})
    elif preview:
        _show_preview(done)
    else:
        print(
            f"Wrote {len(done.files):,} files with {done.rows:,} rows ({done.bytes / 1e6:,.1f} MB) to {to}; "
            f"{done.files_kept:,} were up to date, {done.files_removed:,} replaced or left over were removed."
        )


def _show_preview(done: LakeExport) -> None:
    print_table(["file", "rows", "bytes"], [(file.name, file.rows, file.bytes) for file in done.files])
    for name in dict.fromkeys(file.table_name for file in done.files):
        print(f"{name}: {', '.join(LAKE_TABLES[LakeTable(name)].schema)}")
    print(
        f"{len(done.files):,} files to write, {done.files_kept:,} up to date, {done.files_removed:,} no longer valid."
    )
