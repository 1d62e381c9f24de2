"""What nobody wants to repeat: `kaizen.toml`, one in `$KAIZEN_HOME` for a person, one in a repository for its team."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

from kaizen_analytics.core.errors import ConfigError, QueryError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


_NAME = "kaizen.toml"
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "store": (str, "a path"),
    "timezone": (str, 'a name such as "Europe/Berlin"'),
    "groups": (dict, "a table of lists of folders"),
    "experiments": (dict, "a table of defaults"),
}
_EXPERIMENT_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "duration_days": (int, "a number of days"),
    "design": (str, "fixed, planned or open"),
    "statistic": (str, "median or mean"),
    "alpha": ((int, float), "a number such as 0.05"),
    "guardrails": (list, 'a list such as ["success_rate:decrease:5"]'),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The settings of a command: those of the repository, else those of the person.

    `groups` are absolute folders by the name of their group, `experiments` the defaults of `exp new` by the name of the
    option, `path` the file of the person.
    """

    path: Path
    store: Path | None = None
    timezone: str | None = None
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    experiments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def find_home(environment: Mapping[str, str], home: Path) -> Path:
    """Return the folder of stores, keys and settings: `$KAIZEN_HOME`, else `.kaizen` in the user's home.

    >>> find_home({}, Path("/home/ada")).as_posix()
    '/home/ada/.kaizen'
    """
    return Path(environment.get("KAIZEN_HOME") or home / ".kaizen").expanduser()


def read_settings(environment: Mapping[str, str], home: Path, folder: Path | None = None) -> _Settings:
    """Return the settings of the repository around `folder` and of the person; all defaults without the files.

    Raises:
        ConfigError: a file is not TOML, or has a key or a value that is not known.

    >>> read_settings({"KAIZEN_HOME": str(tmp)}, tmp).groups
    mappingproxy({})
    """
    path = find_home(environment, home) / _NAME
    files = [path, *([] if folder is None else _find_in_repository(folder))]
    found: dict[str, Any] = {"path": path}
    for file in files:
        document = _read_file(file)
        _check(file, document, _KINDS)
        _check(file, document.get("experiments", {}), _EXPERIMENT_KINDS)
        if "store" in document:
            found["store"] = file.parent / Path(document["store"]).expanduser()
        if "timezone" in document:
            found["timezone"] = document["timezone"]
        if "groups" in document:
            found["groups"] = _read_groups(file, document["groups"], home)
        if "experiments" in document:
            found["experiments"] = {**found.get("experiments", {}), **document["experiments"]}
    return _Settings(**found)


def _find_in_repository(folder: Path) -> list[Path]:
    """Return the file beside the nearest `.git` above a folder, as a list of one; none outside of repositories."""
    root = next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    return [] if root is None else [root / _NAME]


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None


def _check(path: Path, table: Mapping[str, Any], kinds: Mapping[str, tuple[type | tuple[type, ...], str]]) -> None:
    for key, value in table.items():
        if key not in kinds:
            raise ConfigError(
                f"{path} has the unknown key {key!r}; expected {', '.join(kinds)}.{did_you_mean(key, kinds)}"
            )
        kind, expected = kinds[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ConfigError(f"{path}: {key} is {value!r}; expected {expected}.")


def _read_groups(path: Path, given: Mapping[str, Any], home: Path) -> Mapping[str, tuple[str, ...]]:
    groups: dict[str, tuple[str, ...]] = {}
    for name, folders in given.items():
        if not isinstance(folders, list) or not folders or not all(isinstance(folder, str) for folder in folders):
            raise ConfigError(f"{path}: the group {name!r} is {folders!r}; expected a list of folders.")
        groups[name] = tuple(_absolute(folder, home) for folder in folders)
    return MappingProxyType(groups)


def _absolute(folder: str, home: Path) -> str:
    inside = folder.removeprefix("~/")
    return str(home / inside if inside != folder else Path(folder).absolute())


def check_timezone(name: str) -> None:
    """Raise `ConfigError` unless there is a time zone of this name.

    >>> check_timezone("America/Los_Angeles")
    """
    if name not in available_timezones() - {"Factory", "localtime"}:  # the two that Polars does not know
        raise ConfigError(f"There is no time zone {name!r}; expected a name such as Europe/Berlin or UTC.")


_PACKAGE = Path(__file__).resolve().parents[1]


def find_folder(name: str) -> Path:
    """Return the folder `sql` or `notebooks`.

    Raises:
        ConfigError: the installation lacks it.

    >>> find_folder("sql").name
    'sql'
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"This installation lacks the folder {name!r} (looked in {_PACKAGE} and beside it); install "
        "kaizen_analytics again.",
    )


def load_sql(path: str, reads: Mapping[str, str] | None = None) -> str:
    """Return the query `sql/<path>`, with the query `sql/<file>` in the place of each relation that `reads` names.

    Raises:
        QueryError: there is no such file.

    >>> load_sql("staging/session_selves.sql").splitlines()[-1]
    'from sessions'
    """
    file = find_folder("sql") / path
    try:
        body = file.read_text("utf-8")
    except FileNotFoundError:
        known = [str(other.relative_to(file.parent)) for other in sorted(file.parent.glob("*.sql"))]
        raise QueryError(f"There is no query {path!r} in sql/.{did_you_mean(file.name, known)}") from None
    if not reads:
        return body
    staged = ",\n".join(f"{relation} as (\n{load_sql(part)})" for relation, part in reads.items())
    return f"with {staged}\nselect * from (\n{body})"


def cache_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Return the folder of all that can be computed again: `kaizen_analytics` in `$XDG_CACHE_HOME` or `~/.cache`.

    >>> cache_folder({}, Path("/home/dev")).as_posix()
    '/home/dev/.cache/kaizen_analytics'
    """
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else home / ".cache"
    return base / "kaizen_analytics"
