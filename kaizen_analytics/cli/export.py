"""`export`: what may leave this machine, as files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.lake import EXAMPLES, lake
from kaizen_analytics.cli.options import JsonOption, StoreOption, locate
from kaizen_analytics.cli.output import print_json
from kaizen_analytics.cli.redact import KeyOption, open_redactor
from kaizen_analytics.cli.retro import WorkspaceOption, choose_scope, find_repository, parse_window, read_limits
from kaizen_analytics.cli.times import read_clock

if TYPE_CHECKING:
    from kaizen_analytics.datasets.export import Export
    from kaizen_analytics.exports import Format
    from kaizen_analytics.redact import Redactor
    from kaizen_analytics.retro.relations import Window
    from kaizen_analytics.retro.retro import Retro

ToOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="FILE|URL|-",
        help="A file, by its ending .md, .json, .csv or .parquet; a folder or an object store (s3://, gs://, az://), "
        "which take .csv and .parquet; or - for standard output.",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="md|json|csv|parquet", help="The format. Default: by the ending of the file."),
]
TextOption = Annotated[
    bool, typer.Option("--with-text", help="Let names and free text leave too, without secrets and people.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="Write what may leave this machine to files, redacted.")
    group.command("retro", epilog="Example: kaizen-analytics export retro --week 2026-W47 --to retro.md")(retro)
    for name, command in (("sessions", sessions), ("metrics", metrics), ("experiments", experiments)):
        group.command(name, epilog=f"Example: kaizen-analytics export {name} --to {name}.parquet")(command)
    group.command("lake", epilog=EXAMPLES)(lake)
    app.add_typer(group, name="export")


def retro(
    *,
    to: ToOption,
    store: StoreOption = None,
    days: Annotated[int | None, typer.Option(help="The last days, today included. Default: 7.")] = None,
    week: Annotated[str | None, typer.Option(metavar="WEEK", help="An ISO week instead, such as 2026-W47.")] = None,
    workspace: WorkspaceOption = None,
    form: FormatOption = None,
    with_text: TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the bets of a week, to be pasted into a pull request, an issue tracker or a chat.

    Files that git tracks in this repository and common tools are named; every other name of a bet becomes a stand-in
    such as name-3fa94b1c22, unless --with-text. The retro is not stored.
    """
    from kaizen_analytics.datasets.export import make_retro_export
    from kaizen_analytics.datasets.wording import Wording

    redactor = open_redactor(key)
    found, tracked = _compute_retro(store, parse_window(days, week, read_clock()), workspace)
    wording = Wording(redactor=redactor, with_text=with_text, tracked=tracked)
    made = make_retro_export(found, wording)
    _deliver(made, to, form, redactor, as_json=as_json)
    if any("name-" in str(row["title"]) for row in made.rows):
        print("note: names that are not public are stand-ins; --with-text shows them, redacted", file=sys.stderr)


def sessions(
    *,
    to: ToOption,
    store: StoreOption = None,
    form: FormatOption = None,
    with_text: TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one row for each session, sub-agents apart."""
    _export("sessions", to, store, form, key, with_text=with_text, as_json=as_json)


def metrics(
    *,
    to: ToOption,
    store: StoreOption = None,
    form: FormatOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write every metric of every session, sub-agents counted with the session that started them."""
    from kaizen_analytics.cli.cache import refresh_mirror

    refresh_mirror(locate(store).path)
    _export("metrics", to, store, form, key, with_text=False, as_json=as_json)


def experiments(
    *,
    to: ToOption,
    store: StoreOption = None,
    form: FormatOption = None,
    with_text: TextOption = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one row for each metric of each experiment, with its change, interval and verdict."""
    _export("experiments", to, store, form, key, with_text=with_text, as_json=as_json)


def _export(
    name: str,
    to: str,
    store: Path | None,
    form: str | None,
    key: Path | None,
    *,
    with_text: bool,
    as_json: bool,
) -> None:
    from kaizen_analytics.datasets.export import make_export
    from kaizen_analytics.store import Store

    redactor = open_redactor(key)
    with Store.open(locate(store).path, read_only=True) as opened:
        made = make_export(opened, name, redactor, now_ms=read_clock(), with_text=with_text)
    _deliver(made, to, form, redactor, as_json=as_json)


def _compute_retro(store: Path | None, window: Window, workspace: Path | None) -> tuple[Retro, frozenset[str]]:
    from kaizen_analytics.git import Repository
    from kaizen_analytics.retro.retro import compute_retro
    from kaizen_analytics.store import Store

    location = locate(store)
    scope = choose_scope(location, workspace)
    root = find_repository(scope)
    with Store.open(location.path, read_only=True) as opened:
        found = compute_retro(
            opened,
            window,
            now_ms=read_clock(),
            workspace=None if scope is None else str(scope),
            thresholds=read_limits(None),
            repository=root,
        )
    repository = None if root is None else Repository.find(root)
    if repository is None:
        return found, frozenset()
    files = repository.list_files()
    # Where a store has several workspaces, a bet names the folder of each before its files.
    return found, files | {f"{repository.root.name}/{file}" for file in files}


def _deliver(made: Export, to: str, form: str | None, redactor: Redactor, *, as_json: bool) -> None:
    from kaizen_analytics.datasets.places import deliver

    place, written = deliver(made, to, _parse_form(form), redactor.scanner)
    if place is None:
        sys.stdout.buffer.write(written)
        sys.stdout.buffer.flush()
    elif as_json:
        print_json({"schema": made.dataset.label, "rows": len(made.rows), "out": place, "bytes": len(written)})
    else:
        print(f"Wrote {len(made.rows):,} rows of {made.dataset.label} to {place}")


def _parse_form(name: str | None) -> Format | None:
    from kaizen_analytics.errors import ConfigError, did_you_mean
    from kaizen_analytics.exports import Format

    names = [form.value for form in Format]
    if name is not None and name.lower() not in names:
        raise ConfigError(f"--format is {name!r}; expected {', '.join(names)}.{did_you_mean(name, names)}")
    return None if name is None else Format(name.lower())
