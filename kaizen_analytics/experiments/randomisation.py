"""What is drawn by lot, and what the sessions of each arm get."""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


class Unit(StrEnum):
    """What is drawn: all sessions of one unit are in one arm."""

    SESSION = "session"
    DAY = "day"
    """A calendar day, UTC."""
    BRANCH = "branch"
    USER = "user"
    """A login name."""

    @property
    def plural(self) -> str:
        """The word for several of them."""
        return {"day": "days", "branch": "branches"}.get(self.value, f"{self.value}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """How arms are drawn. `start` sets the seed: 16 bytes as hexadecimal digits.

    The digests are SHA-256 of what the arms' sessions get; the content itself stays in the store and is exported
    nowhere.
    """

    unit: Unit
    control_sha256: str
    treatment_sha256: str
    seed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmContent:
    """What the sessions of one arm get, everything optional.

    `text` is added by the hook. `file` is an instruction file that the sessions of the other arm do not read. `args`
    are added to the agent's command line, `env` (KEY=VALUE) to its environment, `settings` (JSON) to its settings.
    """

    text: str | None = None
    file: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    settings: str | None = None

    @property
    def needs_launch(self) -> bool:
        """Whether only `run` can give a session this content, or keep the other arm's from it."""
        return bool(self.file or self.args or self.env or self.settings)

    @property
    def sha256(self) -> str:
        """The digest that the plan freezes."""
        return hashlib.sha256(codec.write(self).encode()).hexdigest()


def read_content(
    *, text: Path | None, file: str | None, args: str | None, env: list[str] | None, settings: Path | None
) -> ArmContent:
    """Return the content of an arm from the options of `exp new`.

    Raises:
        ConfigError: a file cannot be read or is empty, or an option has another form.

    >>> read_content(text=None, file=None, args="--model haiku", env=["LEVEL=1"], settings=None).args
    ('--model', 'haiku')
    """
    wrong = [pair for pair in env or () if not pair.partition("=")[0] or "=" not in pair]
    if wrong:
        raise ConfigError(f"The variable {wrong[0]!r} has no value; expected KEY=VALUE.")
    try:
        words = shlex.split(args or "")
    except ValueError as error:
        raise ConfigError(f"The arguments {args!r} cannot be split: {error}.") from error
    return ArmContent(
        text=_read_file(text),
        file=file,
        args=tuple(words),
        env=tuple(env or ()),
        settings=_read_settings(settings),
    )


def _read_file(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if not text.strip() or "\0" in text:
        raise ConfigError(f"{path} {'is empty' if not text.strip() else 'contains U+0000'}; expected a text.")
    return text


def _read_settings(path: Path | None) -> str | None:
    text = _read_file(path)
    if text is None:
        return None
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} is not a JSON object; expected settings of the agent.")
    return text
