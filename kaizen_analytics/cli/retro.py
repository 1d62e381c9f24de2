"""`retro`: what the sessions of a week suggest to change."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kaizen_analytics.cli.options import JsonOption, ShareOption, StoreOption, locate
from kaizen_analytics.cli.output import clean, print_json
from kaizen_analytics.cli.times import read_clock

if TYPE_CHECKING:
    from kaizen_analytics.retro.heuristics import Thresholds
    from kaizen_analytics.retro.relations import Window
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.store.location import Location

_EXAMPLES = """\b
Examples:
  kaizen-analytics retro                                   the last seven days, as text
  kaizen-analytics retro --week 2026-W47 --format md       a whole week, to paste into a pull request
  kaizen-analytics retro --format md,html,json --out retros/
  kaizen-analytics exp new --from-bet H36:pause …          prove one of its bets
"""

WorkspaceOption = Annotated[
    Path | None, typer.Option(metavar="PATH", help="Only sessions of this folder and below it.")
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_EXAMPLES)(retro)


def retro(
    *,
    store: StoreOption = None,
    days: Annotated[int | None, typer.Option(help="The last days, today included. Default: 7.")] = None,
    week: Annotated[str | None, typer.Option(metavar="WEEK", help="An ISO week instead, such as 2026-W47.")] = None,
    workspace: WorkspaceOption = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML with changed thresholds. Default: retro.toml under $KAIZEN_HOME."),
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
    """Look at a week of sessions and bet on what to change.

    Ranked bets with their evidence, what became of earlier bets, experiments, cost and tokens. No model is asked and
    nothing is written into a repository: the retro is kept in the store, so that the next one can follow up.
    """
    from kaizen_analytics.retro.retro import compute_retro, save_retro
    from kaizen_analytics.store import Store

    now_ms = read_clock()
    names = _parse_formats(formats, out, as_json=as_json)
    location = locate(store)
    scope = choose_scope(location, workspace)
    with Store.open(location.path, read_only=dry_run) as opened:
        result = compute_retro(
            opened,
            parse_window(days, week, now_ms),
            now_ms=now_ms,
            workspace=None if scope is None else str(scope),
            thresholds=read_limits(thresholds),
            repository=find_repository(scope),
        )
        if not dry_run:
            save_retro(opened, result)
    if share:
        result = _redact(result, location.path, names)
    _print(result, names, out, as_json=as_json)


def choose_scope(location: Location, workspace: Path | None) -> Path | None:
    """Return the folder whose sessions count: the one that was named, else the store's own, else None for all."""
    return location.workspace if workspace is None else workspace.expanduser().resolve()


def find_repository(scope: Path | None) -> Path | None:
    """Return the root of the repository around a folder, or None."""
    from kaizen_analytics.store.location import find_workspace

    return None if scope is None else find_workspace(scope)


def parse_window(days: int | None, week: str | None, now_ms: int) -> Window:
    """Return the window that `--days` or `--week` names; without both, the last seven days."""
    from kaizen_analytics.errors import ConfigError
    from kaizen_analytics.retro.retro import WEEK_DAYS, last_days, parse_week

    if days is not None and week is not None:
        raise ConfigError("--days and --week name two windows; give one of them.")
    return last_days(days or WEEK_DAYS, now_ms) if week is None else parse_week(week)


def read_limits(file: Path | None) -> Thresholds:
    """Return the changed thresholds of a file, or of retro.toml under $KAIZEN_HOME."""
    from kaizen_analytics.retro.heuristics import read_thresholds

    if file is None:
        file = Path(os.environ.get("KAIZEN_HOME") or Path.home() / ".kaizen").expanduser() / "retro.toml"
        if not file.exists():
            return {}
    return read_thresholds(file)


def _parse_formats(formats: str | None, out: Path | None, *, as_json: bool) -> tuple[str, ...]:
    from kaizen_analytics.errors import ConfigError, did_you_mean

    names = tuple(name.strip().lower() for name in (formats or "").split(",") if name.strip())
    for name in names:
        if name not in _RENDERERS:
            raise ConfigError(
                f"The format is {name!r}; expected {', '.join(_RENDERERS)}.{did_you_mean(name, _RENDERERS)}"
            )
    if out is None and len(names) > 1:
        raise ConfigError(f"--format {formats} makes {len(names)} files; name a folder for them with --out.")
    if out is not None and not names:
        raise ConfigError("--out needs --format: md, html, json or several of them.")
    if names and as_json and out is None:
        raise ConfigError("--json and --format both say what to print; give one of them, or --out.")
    return names


def _redact(result: Retro, store: Path, names: tuple[str, ...]) -> Retro:
    """Return the retro as it may leave; what it will be printed as was looked at."""
    from kaizen_analytics.redact import redact_tree
    from kaizen_analytics.reports.sharing import prepare_share

    share = prepare_share([store])
    clean_result = redact_tree(share.redactor, result)
    share.refuse_leaks({f"retro.{name}": _RENDERERS[name](clean_result).encode() for name in names or ("json",)})
    return clean_result


def _print(result: Retro, names: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    from kaizen_analytics.retro.sections import render_text

    if out is not None:
        files = _write(result, names, out)
        if as_json:
            print_json({**result.to_json(), "files": [str(file) for file in files]})
        else:
            print("\n".join(f"Wrote {file}" for file in files))
    elif as_json:
        print_json(result.to_json())
    elif names:
        print(_RENDERERS[names[0]](result), end="")
    else:
        print("\n".join(clean(line) for line in render_text(result).rstrip().split("\n")))


def _write(result: Retro, names: tuple[str, ...], out: Path) -> list[Path]:
    from kaizen_analytics.errors import ReportError
    from kaizen_analytics.reports.publication import write_file

    files = [out / f"{result.id}.{name}" for name in names]
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, file in zip(names, files, strict=True):
            write_file(file, _RENDERERS[name](result).encode())
    except OSError as error:
        raise ReportError(
            f"Cannot write the retro to {out}: {error.strerror}. Name another folder with --out."
        ) from error
    return files


def _render_json(result: Retro) -> str:
    import json

    return json.dumps(result.to_json(), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _render_markdown(result: Retro) -> str:
    from kaizen_analytics.retro.sections import render_markdown

    return render_markdown(result)


def _render_html(result: Retro) -> str:
    from kaizen_analytics.retro.page import render_html

    return render_html(result)


_RENDERERS = {"md": _render_markdown, "html": _render_html, "json": _render_json}
