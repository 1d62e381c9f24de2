"""Groups of commands whose modules are imported when a command is run, so that a start imports only what it runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo


class LazyGroup(TyperGroup):
    """A group that knows the module and the help line of each command; help and completion need no module.

    A module has an `app` that holds its commands. The help lines repeat what the commands say of themselves; a test
    compares them.
    """

    index: ClassVar[Mapping[str, str]] = {}
    """The help line of each command, in the order of the help page."""
    modules: ClassVar[Mapping[str, str]] = {}
    """The module in this package of each command that is not in the module of its own name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - what Typer knows of the group
        super().__init__(**settings)
        self.commands.update({name: TyperCommand(name, help=line) for name, line in self.index.items()})

    def get_command(self, _: Any, name: str) -> Any:  # noqa: ANN401 - classes that Typer keeps to itself
        """Import the module of a command and return the command; None for an unknown name."""
        if name not in self.index:
            return None
        module = importlib.import_module(f"{__package__}.{self.modules.get(name, name)}")
        group = get_group_from_info(
            TyperInfo(module.app),
            pretty_exceptions_short=False,
            suggest_commands=self.suggest_commands,
            rich_markup_mode=self.rich_markup_mode,
        )
        return group.commands[name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the commands and their help lines."""
        self._listing().format_commands(ctx, formatter)

    def shell_complete(self, _: Any, incomplete: str) -> Any:  # noqa: ANN401
        """Return the commands and options that begin so."""
        listing = self._listing()
        return listing.shell_complete(typer.Context(listing), incomplete)

    def _listing(self) -> TyperGroup:
        return TyperGroup(commands=dict(self.commands), params=self.params, rich_markup_mode=self.rich_markup_mode)
