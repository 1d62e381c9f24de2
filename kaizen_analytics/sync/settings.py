"""Where sync sends to, what, and whether. The settings lie in the store; a token never does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kaizen_analytics.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLES = ("sessions", "metrics", "experiments")
"""What can be synced to an HTTP endpoint."""

_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One destination.

    `url` is an HTTP endpoint, or a lake as `export lake` takes it. `token_env` names the environment variable that
    holds a bearer token, `key_file` the key of pseudonyms (of the lake, for a lake); None: those of $KAIZEN_HOME.
    `batch_rows` is the most rows of one request, `timeout_s` how long to wait for the endpoint at each step.
    """

    url: str
    enabled: bool = False
    tables: tuple[str, ...] = TABLES
    token_env: str | None = None
    key_file: str | None = None
    allow_http: bool = False
    batch_rows: int = 500
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        _check_url(self.url, allow_http=self.allow_http)
        for name in self.tables:
            if name not in TABLES:
                raise ConfigError(f"There is no table {name!r}; expected {', '.join(TABLES)}.{_hint(name)}")
        if not self.tables or len(set(self.tables)) < len(self.tables):
            raise ConfigError("Name each table once, and at least one.")
        if self.token_env is not None and not _VARIABLE.fullmatch(self.token_env):
            raise ConfigError(
                "--token-env takes the name of an environment variable, such as KAIZEN_SYNC_TOKEN, not a token."
            )
        if not 1 <= self.batch_rows <= 10_000:
            raise ConfigError(f"A batch has {self.batch_rows} rows; expected 1 to 10,000.")
        if not 0 < self.timeout_s <= 600:
            raise ConfigError(f"The timeout is {self.timeout_s} s; expected more than 0 and at most 600.")

    @property
    def is_lake(self) -> bool:
        """Whether the destination is a lake, not an HTTP endpoint."""
        return urlsplit(self.url).scheme not in {"http", "https"}

    def to_json(self) -> dict[str, Any]:
        """Return all settings."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "tables": list(self.tables)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Settings:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: a setting is unknown to this version, or wrong.
        """
        unknown = record.keys() - set(cls.__dataclass_fields__)
        if unknown:
            raise ConfigError(
                f"The store's sync settings hold {', '.join(sorted(unknown))}, which this version does not know; "
                "upgrade kaizen_analytics, or configure sync anew.",
            )
        return cls(**{**record, "tables": tuple(record["tables"])})


def read_token(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """Return the bearer token, or None where the endpoint needs none.

    Raises:
        ConfigError: the variable is not set, or holds what no header can.
    """
    if settings.token_env is None:
        return None
    token = environment.get(settings.token_env, "")
    if not _TOKEN.fullmatch(token):
        state = "holds characters that a token cannot have" if token else "is not set"
        raise ConfigError(f"The environment variable {settings.token_env} {state}; set it to the endpoint's token.")
    return token


def _check_url(url: str, *, allow_http: bool) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        _check_lake(url)
        return
    if not parts.hostname:
        raise ConfigError(f"{url!r} names no host; expected something like https://metrics.example.org/kaizen.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("The URL holds credentials; name the variable of a bearer token with --token-env instead.")
    if parts.fragment:
        raise ConfigError(f"{url!r} has a fragment, which no request carries; leave out what follows '#'.")
    if parts.scheme == "http" and parts.hostname not in _LOCAL_HOSTS and not allow_http:
        raise ConfigError(
            f"{url!r} is not encrypted; use https, or agree with --allow-http. Plain http is allowed to this machine."
        )


def _check_lake(url: str) -> None:
    from kaizen_analytics.lake.places import open_place

    open_place(url)


def _hint(name: str) -> str:
    return did_you_mean(name, TABLES)
