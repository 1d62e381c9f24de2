"""What a class of findings is made of: what its judge gets, what it says, and the change that it proposes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.core.model import Window
    from kaizen_analytics.retro.material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The change that a finding proposes: a line for the agents' instructions, values for a settings file, or a habit.

    `file` is relative to the repository's root. `line` is one line of Markdown; `merge` is JSON to merge into a file.
    `habit` is what people do instead: it changes no file.
    """

    file: str = ""
    line: str = ""
    merge: str = ""
    habit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingText:
    """What a judge says about a group: a title, and a `line` for the agents' instructions or another `change`.

    `seen` stands in place of the counts, `more` after them. `cost_usd` replaces the sum of the rows' costs, and `test`
    the class's, where they are not None.
    """

    title: str
    line: str = ""
    change: Change | None = None
    seen: str | None = None
    more: str = ""
    test: str | None = None
    cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Exposure:
    """Which sessions could have shown a class: those with a row in `frame` that meets `condition`.

    `words` names them, `lacking` says why a class cannot be evaluated without any.
    """

    words: str
    lacking: str
    frame: str
    condition: pl.Expr = field(default_factory=lambda: pl.lit(value=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The moments of one subject in one repository; `exposed` sessions of the window could have shown it."""

    repository: str
    subject: str
    rows: pl.DataFrame
    exposed: int
    material: Material
    window: Window


PROVEN_BY_LOT = (
    "Draw the change by lot for each session and compare the share of sessions in which this happens: "
    "'kaizen-analytics exp new --from-finding' plans it."
)
NEEDS_NO_TEST = "Needs no experiment: apply it, and the next retros count whether it still happens."


@dataclass(frozen=True, slots=True)
class FindingClass:
    """One class: its rows come from `sql/retro/<query>.sql`, by default of its own name.

    `keep` chooses among them, `word` judges what recurs.
    """

    name: str
    exposure: Exposure
    word: Callable[[Group, pl.DataFrame], FindingText | None]
    saving: str = "the failed call and the answer to it, each time"
    test: str = PROVEN_BY_LOT
    keep: Callable[[Group], pl.DataFrame] = lambda group: group.rows
    query: str = ""
