"""Groups of commands, whose modules are imported when a command is run."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_group_from_info
from typer.models import TyperInfo

_GROUPS: dict[str, typer.Typer] = {}


def group(name: str) -> typer.Typer:
    """Return the group of commands of this name, such as `retro`; "" for the commands without a group.

    >>> group("retro") is group("retro")
    True
    """
    return _GROUPS.setdefault(name, typer.Typer(no_args_is_help=True))


class LazyGroup(TyperGroup):
    """A group that knows the module and the help line of each command; help and completion need no module.

    The help lines repeat what the commands say of themselves; a test compares them.
    """

    path: ClassVar[str] = ""
    """The name under which `group` knows it."""
    index: ClassVar[Mapping[str, str]] = {}
    """The help line of each command, in the order of the help page."""
    modules: ClassVar[Mapping[str, str]] = {}
    """The module in this package of each command that is not in the module of its own name."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - what Typer knows of the group
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line) for name, line in self.index.items()}

    def get_command(self, _: Any, name: str) -> Any:  # noqa: ANN401 - classes that Typer keeps to itself
        """Import the module of a command and return the command; None for an unknown name."""
        if name not in self.index:
            return None
        importlib.import_module(f"{__package__}.{self.modules.get(name, name)}")
        form: Any = {"pretty_exceptions_short": False, "rich_markup_mode": self.rich_markup_mode}
        inner = _GROUPS.get(f"{self.path} {name}".strip())
        if inner is None:
            listed = group(self.path).registered_commands
            return get_command_from_info(next(one for one in listed if one.name == name), **form)
        told: dict[str, Any] = {} if inner.registered_callback else {"help": self.index[name]}
        info = TyperInfo(inner, name=name, **told)
        return get_group_from_info(info, suggest_commands=self.suggest_commands, **form)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the commands and their help lines."""
        self._listing().format_commands(ctx, formatter)

    def shell_complete(self, _: Any, incomplete: str) -> Any:  # noqa: ANN401
        """Return the commands and options that begin so."""
        listing = self._listing()
        return listing.shell_complete(typer.Context(listing), incomplete)

    def _listing(self) -> TyperGroup:
        return TyperGroup(commands=dict(self.commands), params=self.params, rich_markup_mode=self.rich_markup_mode)


class _Experiments(LazyGroup):
    path: ClassVar = "exp"
    index: ClassVar = {
        "new": "Plan an experiment: a change, a metric, a rule for success.",
        "edit": "Change a draft.",
        "start": "Start a draft and freeze its plan.",
        "list": "List the experiments of a store, newest first.",
        "show": "Show an experiment, its plan and how many sessions are tagged.",
        "tag": "Put sessions into an arm by hand, by ids or by a filter.",
        "untag": "Take a session's tag away, with a reason.",
        "tags": "List the tagged sessions of an experiment.",
        "evaluate": "Judge an experiment now; a concluded one as it was frozen.",
        "report": "Write the conclusion report of an experiment.",
        "conclude": "Conclude an experiment: freeze its sample and its result.",
        "cancel": "Withdraw an experiment while an arm has no session.",
        "archive": "Archive a concluded experiment, or a draft.",
        "power": "Say how many sessions and days an experiment needs.",
        "assign": "Say which arm a unit is drawn into, for scripts.",
    }
    modules: ClassVar = dict.fromkeys(index, "experiments") | {
        **dict.fromkeys(("list", "tags"), "experiment_list"),
        **dict.fromkeys(("tag", "untag", "assign"), "arms"),
    }


_GROUPS["exp"] = typer.Typer(cls=_Experiments, no_args_is_help=True)
