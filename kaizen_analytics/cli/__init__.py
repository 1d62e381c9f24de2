"""The command line `kaizen-analytics`: each command parses, calls one public function and prints.

Modules hold one command group each and import heavy libraries inside the commands, so that `--help` stays fast.
`main` is the only place that turns a `KaizenError` into a message and an exit code:

    0 done · 1 refused or failed · 2 wrong usage · 74 input or output · 75 busy · 124 timed out · 130 interrupted ·
    138 a notebook kernel died
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Annotated

import typer

from kaizen_analytics import __version__
from kaizen_analytics.errors import KaizenError

GROUPS = (
    "store",
    "ingest",
    "tail",
    "sessions",
    "prices",
    "metrics",
    "experiments",
    "retro",
    "guidance",
    "export",
    "sync",
    "reports",
    "doctor",
    "cache",
    "redact",
)
"""Modules of this package; each has `register(app)`. The order is that of the help page."""

app = typer.Typer(
    name="kaizen-analytics",
    no_args_is_help=True,
    rich_markup_mode=None,  # the plain help page needs no rich, which would double the start-up time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(f"kaizen-analytics {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 74 input or output, 75 busy, 124 timed out, "
    "130 interrupted, 138 a notebook kernel died."
)
def root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Did this change make our coding agents better?

    Reads the sessions of Claude Code, Codex and Cursor, counts them exactly, and judges experiments on them.

    \b
    First steps:
      kaizen-analytics ingest                       read this machine's sessions of this repository
      kaizen-analytics metrics                      what they cost
      kaizen-analytics exp new --name "…" …         plan a change; 'exp start', 'exp report' follow
    """  # noqa: D301 - click needs the control character


for _group in GROUPS:
    importlib.import_module(f"kaizen_analytics.cli.{_group}").register(app)


def main() -> None:
    """Run the command line and exit."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, and not when Python ends, where nobody catches that the reader has gone
    except KaizenError as error:
        _print_error(str(error), error.exit_code)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has gone: nothing is left to say, and closing stdout must not raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _print_error(message: str, code: int) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"error: {message}", file=sys.stderr)
