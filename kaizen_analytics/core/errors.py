"""Everything that this package raises on purpose.

    KaizenError
    ├── StoreError              the SQLite file: missing, foreign, damaged, newer, locked
    │   ├── StoreMissingError   no store where one was expected
    ├── IngestError             a source as a whole cannot be read (a bad line is a Reject, not an error)
    ├── ExperimentError         an experiment, its tags or its lifecycle
    │   ├── ExperimentNotFoundError
    │   ├── VariantConflictError
    │   └── FrozenError         a frozen experiment would change
    ├── RepositoryError         git refused, or the repository lacks what was asked for
    ├── RecordError             JSON that was stored or given lacks a field, or one has a value of another type
    ├── StatisticsError         input that no statistic is defined for (NaN, infinite, negative counts)
    ├── QueryError              a file of sql/ or the frame that it returned
    ├── ReportError             a notebook run or its rendering
    ├── LakeError               a lake: unreachable, damaged, of another version or under another key
    ├── RedactionError          something that must not leave would have left
    └── ConfigError             options, environment or configuration files

Each message names the thing, the value found, what was expected and what to do next. Only the command line
catches `KaizenError`.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

_Word = TypeVar("_Word", bound=str)


class KaizenError(Exception):
    """Root of all errors that this package raises on purpose."""

    exit_code: int = 1
    """What the command line exits with."""


class StoreError(KaizenError):
    """The store cannot be opened, read or written."""

    exit_code = 74


class StoreMissingError(StoreError):
    """No store lies where one was expected."""


class StoreWarning(UserWarning):
    """The store was read, but not all of it as it is written there."""


class IngestError(KaizenError):
    """A source as a whole cannot be read."""

    exit_code = 74


class ExperimentError(KaizenError):
    """An experiment, its tags or its lifecycle refuse what was asked."""


class ExperimentNotFoundError(ExperimentError):
    """No experiment has this id."""

    exit_code = 2


class VariantConflictError(ExperimentError):
    """A session is already tagged with another variant."""


class FrozenError(ExperimentError):
    """The experiment has a frozen sample; it can no longer change."""


class RepositoryError(KaizenError):
    """A git repository lacks what was asked for, or git itself failed."""


class RecordError(KaizenError):
    """A JSON record cannot be read as what it should hold."""


class StatisticsError(KaizenError):
    """Input that no statistic is defined for."""


class QueryError(KaizenError):
    """A query file is missing, or its result does not have the declared columns."""


class ReportError(KaizenError):
    """A report could not be made."""


class LakeError(KaizenError):
    """A lake cannot be read or written, or is not the one that was meant."""

    exit_code = 74


class RedactionError(KaizenError):
    """Something that must not leave the machine would have left it."""


class ConfigError(KaizenError):
    """An option, an environment variable or a configuration file is wrong."""

    exit_code = 2


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ' Did you mean …?' for the closest known word, or '' when none is close.

    >>> did_you_mean("contrl", ["control", "treatment"])
    " Did you mean 'control'?"
    """
    close = difflib.get_close_matches(given, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def one_of(what: str, text: str, known: Iterable[_Word]) -> _Word:
    """Return the known word, or the member of an enumeration, that a user gave as text.

    Raises:
        ConfigError: there is none; `what` begins the message.

    >>> one_of("--format", "mdd", ["md", "json"])
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ConfigError: --format is 'mdd'; expected one of md, json. Did you mean 'md'?
    """
    words = list(known)
    if text not in words:
        raise ConfigError(f"{what} is {text!r}; expected one of {', '.join(words)}.{did_you_mean(text, words)}")
    return words[words.index(text)]
