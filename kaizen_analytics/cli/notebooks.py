"""`notebooks copy`: the notebooks for analysts, to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kaizen_analytics.cli.options import StoreOption, command, locate
from kaizen_analytics.cli.output import print_lines
from kaizen_analytics.reports.catalogue import copy_notebooks

_group = typer.Typer(no_args_is_help=True, help="Copy the notebooks for analysts.")
app = typer.Typer()
app.add_typer(_group, name="notebooks")


@command(_group, "copy", "notebooks copy analysis")
def _copy(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them; it is made if it is missing.")],
    *,
    store: StoreOption = None,
) -> Iterator[object]:
    """Copy the notebooks of this installation.

    The store of this command is filled in. A file is never replaced.
    """
    copied = copy_notebooks(folder, locate(store).path.resolve())
    yield {"notebooks": [str(path) for path in copied]}
    print_lines(*(f"Wrote {path}" for path in copied), then=f"jupyter lab {folder}")
