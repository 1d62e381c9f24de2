"""`retro …` and `guidance`: what past sessions suggest to change, what came of it, and what agents are told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.groups import group
from kaizen_analytics.cli.options import (
    JsonOption,
    ShareOption,
    StoreOption,
    WorkspaceOption,
    choose_scope,
    command,
    locate,
    open_store,
    resolve_folder,
)
from kaizen_analytics.cli.output import print_json, print_note, print_page, print_table
from kaizen_analytics.cli.times import choose_timezone
from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, one_of
from kaizen_analytics.core.files import write_file
from kaizen_analytics.core.times import read_clock
from kaizen_analytics.core.words import format_day
from kaizen_analytics.pages.documents import retro_document
from kaizen_analytics.pages.retro import document, page, show, whole
from kaizen_analytics.reports.rendering import render_page
from kaizen_analytics.reports.sharing import prepare_share
from kaizen_analytics.retro.findings import Finding
from kaizen_analytics.retro.guidance import GuidanceItem, compute_guidance
from kaizen_analytics.retro.patch import render_patch
from kaizen_analytics.retro.retro import Retro, choose_window, compute_retro, last_days, save_retro
from kaizen_analytics.store import Store
from kaizen_analytics.store.retros import decline_finding, find_finding

_EXAMPLES = """\b
Examples:
  kaizen-analytics retro                                   the last 28 whole days, as text
  kaizen-analytics retro --week 2026-W47 --format md       a week, to paste into a pull request
  kaizen-analytics retro --format md,html,json --out retros/
  kaizen-analytics retro show wrong-command-8d0b13 --patch | git apply
  kaizen-analytics exp new --from-finding wrong-command-8d0b13
"""

_RepositoryOption = Annotated[
    str | None,
    typer.Option(
        "--repository",
        metavar="PATH",
        parser=resolve_folder,
        help="Only sessions of this repository, its worktrees included.",
    ),
]
_FindingArgument = Annotated[str, typer.Argument(metavar="ID", help="The finding, or the start of its id.")]


@group("retro").callback(invoke_without_command=True, no_args_is_help=False, epilog=_EXAMPLES)
def _retro(
    context: typer.Context,
    *,
    store: StoreOption = None,
    days: Annotated[int | None, typer.Option(help="The last whole days. Default: 28.")] = None,
    week: Annotated[str | None, typer.Option(metavar="WEEK", help="An ISO week instead, such as 2026-W47.")] = None,
    repository: _RepositoryOption = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Whose days count. Default: this machine's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do not store the retro: the next one will not follow up on it.")
    ] = False,
    formats: Annotated[
        str | None, typer.Option("--format", metavar="md,html,json", help="What to make instead of plain text.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the formats into this folder instead of printing.")
    ] = None,
    share: ShareOption = False,
    as_json: JsonOption = False,
) -> None:
    """Look at past sessions and say what to change.

    What recurs, what it costs, and the text that ends it; what came of earlier findings and of experiments. No model is
    asked and nothing is written into a repository: the retro is kept in the store, so that the next one can follow up.
    """
    if context.invoked_subcommand is not None:
        return
    now_ms, zone = read_clock(), choose_timezone(timezone)
    names = _parse_formats(formats, out, as_json=as_json)
    location = locate(store)
    within, root = choose_scope(location, repository)
    with Store.open(location.path, read_only=dry_run, ours=True) as opened:
        window = choose_window(days, week, now_ms, zone)
        result = compute_retro(opened, window, now_ms=now_ms, repository=within, root=root, timezone=zone)
        if not dry_run:
            save_retro(opened, result)
    if share:
        result = _redact(result, location.path, names)
    _print(result, names, out, as_json=as_json)


@command("retro show", "retro show wrong-command-8d0b13 --patch | git apply")
def _show(
    finding: _FindingArgument,
    *,
    patch: Annotated[bool, typer.Option("--patch", help="Print its change as a diff for 'git apply'.")] = False,
    repository: _RepositoryOption = None,
    store: StoreOption = None,
) -> Iterator[object]:
    """Show a finding with its evidence, or its change as a diff. Nothing is written."""
    with open_store(store, read_only=True) as opened:
        stored = find_finding(opened, finding)
    found = codec.read(Finding, stored.finding, f"The stored finding {stored.id}")
    if not patch:
        yield codec.plain(found)
        print_page(show(found))
        return
    root = Path(found.repository if repository is None else repository)
    if not root.is_dir():
        raise ConfigError(f"{root} is not on this machine; name the repository's folder with --repository PATH.")
    print(render_patch(found.change, found.id, root), end="")


@command("retro decline", "retro decline large-output-d46 --reason 'we need them'")
def _decline(
    finding: _FindingArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is not to be acted on.")],
    store: StoreOption = None,
) -> Iterator[object]:
    """Take a finding off the page until it happens twice as often."""
    with open_store(store) as opened:
        found = find_finding(opened, finding).id
        decline_finding(opened, found, reason, now_ms=read_clock())
    yield {"finding": found, "declined": True, "reason": reason}
    print(f"Declined {found}. It comes back when it happens twice as often.")


def _parse_formats(formats: str | None, out: Path | None, *, as_json: bool) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in (formats or "").split(",") if name.strip())
    for name in names:
        one_of("--format", name, _RENDERERS)
    if out is None and len(names) > 1:
        raise ConfigError(f"--format {formats} makes {len(names)} files; name a folder for them with --out.")
    if out is not None and not names:
        raise ConfigError("--out needs --format: md, html, json or several of them.")
    if names and as_json and out is None:
        raise ConfigError("--json and --format both say what to print; give one of them, or --out.")
    return names


def _redact(result: Retro, store: Path, names: tuple[str, ...]) -> Retro:
    """Return the retro as it may leave; what it will be printed as was looked at."""
    share = prepare_share([store])
    clean_result = share.project(result)
    share.refuse_leaks({f"retro.{name}": _RENDERERS[name](clean_result).encode() for name in names or ("json",)})
    return clean_result


def _print(result: Retro, names: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    if out is not None:
        files = [out / f"{result.id}.{name}" for name in names]
        out.mkdir(parents=True, exist_ok=True)
        for name, file in zip(names, files, strict=True):
            write_file(file, _RENDERERS[name](result).encode())
        if as_json:
            print_json({**retro_document(result), "files": [str(file) for file in files]})
        else:
            print("\n".join(f"Wrote {file}" for file in files))
    elif as_json:
        print_json(retro_document(result))
    elif names:
        print(_RENDERERS[names[0]](result), end="")
    else:
        print_page(whole(result))


def _render_json(result: Retro) -> str:
    return json.dumps(retro_document(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _render_html(result: Retro) -> str:
    fingerprint = str(result.provenance["fingerprint"])
    return render_page([*page(result), document(result)], "Retro summary", result.id, fingerprint, result.as_of_ms)


_RENDERERS = {"md": lambda result: whole(result).markdown + "\n", "html": _render_html, "json": _render_json}


@command("guidance", "guidance --days 90")
def _guidance(
    *,
    store: StoreOption = None,
    days: Annotated[int, typer.Option(help="The last whole days.")] = 28,
    workspace: WorkspaceOption = None,
) -> Iterator[object]:
    """List what agents are told in a repository, and what it costs.

    Instructions, rules, skills, agents, commands and servers. Size, the sessions that used it, and what carrying it in
    every session costs. Nothing is written.
    """
    location = locate(store)
    repository, root = choose_scope(location, workspace)
    with Store.open(location.path, read_only=True, ours=True) as opened:
        result = compute_guidance(
            opened, last_days(days, read_clock(), choose_timezone(None)), root=root, repository=repository
        )
    yield result.to_json()
    if not result.items:
        print_note(
            f"No skill or rule lies in the repository, and none of {result.sessions} sessions used one. "
            "Name a repository with --workspace PATH."
        )
        return
    columns = ["kind", "name", "tokens", "read by", "sessions", "USD a week", "changed"]
    print_table(
        columns,
        [_guidance_cells(item) for item in result.items],
        title=f"{result.sessions:,} sessions",
        droppable=("changed", "read by"),
    )


def _guidance_cells(item: GuidanceItem) -> tuple[object, ...]:
    return (
        item.kind,
        item.name if item.path else f"{item.name} (not on disk)",
        item.tokens,
        "every session" if item.is_always_read else "on use",
        item.sessions_used,
        None if item.usd_per_week is None else f"{item.usd_per_week:,.2f}",
        None if item.changed_ms is None else format_day(item.changed_ms),
    )
