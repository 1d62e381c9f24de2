"""The command line `kaizen-analytics`: each command parses, calls one public function and prints.

Modules hold one command group each, and are imported when one of their commands is run.
`main` is the only place that turns a `KaizenError` into a message and an exit code:

    0 done · 1 refused or failed · 2 wrong usage · 3 over budget (usage) · 74 input or output · 75 busy ·
    124 timed out · 130 interrupted · 138 a notebook kernel died
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from typer.main import get_command

from kaizen_analytics import __version__
from kaizen_analytics.cli.groups import LazyGroup
from kaizen_analytics.cli.output import print_note, without_quiet
from kaizen_analytics.core.errors import KaizenError, StoreWarning

if TYPE_CHECKING:
    from types import TracebackType


class _Commands(LazyGroup):
    index: ClassVar = {
        "init": "Create a store, or bring an existing one up to date.",
        "backup": "Copy a store into a file while it is in use. The copy is a store: 'doctor --deep --store FILE' "
        "checks it.",
        "import": "Take over experiments, tags and observations from kaizen-cli.",
        "ingest": "Read new sessions into the store.",
        "tail": "Show and store events of running sessions as they are written.",
        "prices": "Show the prices of a store's models, per million tokens.",
        "usage": "Show what was used: tokens by kind, and cost.",
        "outcomes": "Find out what came of the sessions, from commands and git.",
        "metrics": "Compute every metric of every session.",
        "run": "Draw an arm, and start an agent with what the arm gets.",
        "hook": "Draw the arm of a session, and answer with its text.",
        "guidance": "List what agents are told in a repository, and what it costs.",
        "mcp": "Answer a coding agent's questions over MCP.",
        "doctor": "Check a store, and say what to do about each problem.",
        "redact": "Replace secrets and identities in a text by placeholders.",
        "sessions": "List, show, search and judge sessions.",
        "exp": "Plan, run, judge and conclude experiments.",
        "judge": "Judge runs from elsewhere by the rules of an experiment.",
        "hooks": "Install the hook through which agents take part in experiments.",
        "retro": "Look at past sessions and say what to change.",
        "export": "Write what may leave this machine to files, redacted.",
        "notebooks": "Copy the notebooks for analysts.",
        "report": "Make reports, list the runs, show one.",
    }
    modules: ClassVar = {
        **dict.fromkeys(("init", "backup", "import", "doctor"), "store"),
        **dict.fromkeys(("tail", "prices", "outcomes"), "ingest"),
        **dict.fromkeys(("run", "hook"), "hooks"),
        **dict.fromkeys(("report", "notebooks"), "reports"),
        "exp": "groups",
        "guidance": "retro",
    }


app = typer.Typer(
    name="kaizen-analytics",
    cls=_Commands,
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
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 over budget (usage), 74 input or output, "
    "75 busy, 124 timed out, 130 interrupted, 138 a notebook kernel died."
)
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True, help="Print the version."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print results, warnings and errors only: no progress, no advice.")
    ] = False,
) -> None:
    """Did this change make our coding agents better?

    Reads the sessions of Claude Code, Codex and Cursor, counts them exactly, and judges experiments on them.

    \b
    First steps:
      kaizen-analytics ingest                       read this machine's sessions of this repository
      kaizen-analytics usage                        what they cost
      kaizen-analytics exp new --name "…" …         plan a change; 'exp start', 'exp report' follow
    """  # noqa: D301 - click needs the control character


def main() -> None:
    """Run the command line and exit; what the terminal's encoding lacks is shown as an escape.

    >>> import contextlib
    >>> from unittest.mock import patch
    >>> with patch.object(sys, "argv", ["kaizen-analytics", "--version"]), contextlib.suppress(SystemExit):
    ...     main()
    kaizen-analytics 0.1.0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _print_warning
    sys.excepthook = _print_bug
    try:
        try:
            get_command(app)(without_quiet(sys.argv[1:]))
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
    except OSError as error:
        told = error.strerror or str(error)
        _print_error(f"{told}." if error.filename is None else f"{os.fsdecode(error.filename)[:200]}: {told}.", 74)
        sys.exit(74)


def _print_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, StoreWarning):
        print_note(f"warning: {message}", file=sys.stderr)


def _print_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say in one line that this program failed; Python then exits with code 1."""
    place = traceback.extract_tb(trace)[-1]
    _print_error(
        f"kaizen-analytics failed: {kind.__name__}: {error} ({Path(place.filename).name}, line {place.lineno}). "
        "This is a bug; please report it with the command that you ran.",
        1,
    )


def _print_error(message: str, code: int) -> None:
    if "--json" in sys.argv:
        print(json.dumps({"error": message, "exit_code": code}), file=sys.stderr)
    else:
        print_note(f"error: {message}", file=sys.stderr)
