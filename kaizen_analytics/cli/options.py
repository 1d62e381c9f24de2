"""How a command is declared, the options that several commands share, and how a command finds its store."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from kaizen_analytics.cli.groups import group
from kaizen_analytics.cli.output import print_json
from kaizen_analytics.core.folders import normalise_folder
from kaizen_analytics.core.settings import read_settings
from kaizen_analytics.store import Store
from kaizen_analytics.store.assignments import fold_spool, spool_beside
from kaizen_analytics.store.location import Location, find_workspace, locate_store, move_former_store

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        metavar="PATH",
        help="The store. Default: $KAIZEN_STORE, else that of kaizen.toml, else this repository's.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ShareOption = Annotated[
    bool, typer.Option("--share", help="Redact secrets and identities, and write nothing in which one is left.")
]


class Options:
    """A group of options that several commands have: a dataclass that a command takes as one parameter."""

    is_prefixed: ClassVar[bool] = False
    """Whether the name of the parameter stands before each option of the group."""


def command(name: str, *examples: str, after: str = "", **settings: Any) -> Callable[[Callable[..., Any]], Any]:  # noqa: ANN401 - settings of Typer
    """Return the decorator that makes a function a command, with examples (and a text after them) below its help.

    `name` begins with that of its group: `retro show`. An example may leave out this program's name.
    A parameter of a class of `Options` stands for the options of that group. A generator gets the option `--json`. It
    yields its one JSON document, or `document, exit code`, and then prints the same for people: with `--json` it goes
    no further than the document.

    >>> @command("example count", "example count")
    ... def _count():
    ...     yield {"sessions": 2}
    ...     print("2 sessions")
    >>> typer.main.get_command(group("example"))(["--json"], standalone_mode=False)
    {
      "sessions": 2
    }
    """
    program = "kaizen-analytics"
    one, *more = (example if program in example else f"{program} {example}" for example in examples)
    epilog = "\n  ".join(["\b\nExamples:", one, *more]) + "\n" if more or after else f"Example: {one}"

    def register(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - what the group makes of it
        parent, _, own = name.rpartition(" ")
        return group(parent).command(own, epilog=f"{epilog}{after}", **settings)(_with_options(function))

    return register


def _with_options(function: Callable[..., Any]) -> Callable[..., None]:
    """Return a function of plain options that calls one that takes groups of them, and prints what it yields."""
    groups: dict[str, tuple[type[Options], dict[str, str]]] = {}
    parameters = []
    for one in inspect.signature(function, eval_str=True).parameters.values():
        if isinstance(one.annotation, type) and issubclass(one.annotation, Options):
            prefix = f"{one.name}_" if one.annotation.is_prefixed else ""
            members = inspect.signature(one.annotation, eval_str=True).parameters
            groups[one.name] = (one.annotation, {name: f"{prefix}{name}" for name in members})
            parameters += [member.replace(name=f"{prefix}{member.name}") for member in members.values()]
        else:
            parameters.append(one)
    if inspect.isgeneratorfunction(function):
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter("as_json", kind, default=False, annotation=JsonOption))

    @functools.wraps(function)
    def run(**given: Any) -> None:  # noqa: ANN401 - the values of any options
        for name, (kind, options) in groups.items():
            given[name] = kind(**{member: given.pop(option) for member, option in options.items()})
        if not inspect.isgeneratorfunction(function):
            function(**given)
            return
        as_json = given.pop("as_json")
        answer = function(**given)
        found = next(answer, None)
        document, code = found if isinstance(found, tuple) else (found, 0)
        if as_json and document is not None:
            print_json(document)
        else:
            next(answer, None)
        if code:
            raise typer.Exit(code)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def resolve_folder(text: str) -> str:
    """Return a folder that a user named as the store names workspaces: a repository by its main working tree.

    A folder of another machine is taken as it is written.

    >>> resolve_folder("/srv/of/another/machine/")
    '/srv/of/another/machine'
    """
    path = Path(text).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 - false, and no error, for a name that no file system takes
        return normalise_folder(text)
    return normalise_folder(str(find_workspace(path) or path.resolve()))


WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        metavar="PATH",
        parser=resolve_folder,
        help="Only sessions of this folder and below it. A folder inside a repository stands for the repository.",
    ),
]


def locate(explicit: Path | None, folder: Path | None = None) -> Location:
    """Return where the store of a command in `folder` (by default here) is; a former version's is moved there first.

    >>> locate(Path("/srv/team.db")).path.as_posix()
    '/srv/team.db'
    """
    here = Path.cwd() if folder is None else folder
    if explicit is None and not os.environ.get("KAIZEN_STORE"):
        explicit = read_settings(os.environ, Path.home(), here).store
    location = locate_store(explicit, environment=os.environ, folder=here, home=Path.home())
    if former := move_former_store(location):
        print(f"Moved the store from {former} to {location.path}.", file=sys.stderr)
    return location


def open_store(explicit: Path | None, *, create: bool = False, read_only: bool = False) -> Store:
    """Open the store of this command; what the hooks recorded is in it before a command that may write reads it.

    >>> with open_store(store.path, read_only=True) as opened:
    ...     opened.path == store.path
    True
    """
    path = locate(explicit).path
    if not read_only:
        fold_waiting(path)
    return Store.open(path, create=create, read_only=read_only, ours=True)


def fold_waiting(path: Path) -> None:
    """Take what the hooks recorded into a store; without a spool the store is not opened.

    >>> fold_waiting(tmp / "nothing.db")  # no hook recorded anything
    """
    if path.exists() and spool_beside(path).exists():
        with Store.open(path, ours=True) as opened:
            fold_spool(opened)


def choose_scope(location: Location, workspace: str | None) -> tuple[str | None, Path | None]:
    """Return the folder whose sessions count, and the root of the repository around it on this machine.

    The folder is the one that was named, else the store's own, else None for all.

    >>> from kaizen_analytics.store.location import Location
    >>> choose_scope(Location(Path("k.db"), None), None)
    (None, None)
    """
    scope = location.workspace if workspace is None else Path(workspace)
    return (None, None) if scope is None else (normalise_folder(str(scope)), find_workspace(scope))
