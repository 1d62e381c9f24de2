"""`export`: what may leave this machine, as files."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        no_args_is_help=True, callback=lambda: None, help="Write what may leave this machine to files, redacted."
    )
    app.add_typer(group, name="export")
