"""Agent observability that a team can defend: exact ingestion, experiments judged with honest statistics, reports.

The rooms, in the order in which data flows through them:

    ingest        transcripts of Claude Code, Codex and Cursor -> sessions, events, rejects
    store         the SQLite file that kaizen-cli can share, reached through DuckDB's sqlite extension
    columnar      a columnar copy of what analysis needs, never older than the store
    engines       where a portable query runs
    metrics       what is measured for each session (sql/marts)
    usage         tokens, cost, tools and the course of a session, added up from events
    experiments   which session belongs to which arm, the life of an experiment, its evaluation
    stats         the statistics, pure functions on arrays
    reports       notebooks, run unattended and rendered to one page
    retro         what the sessions of a week suggest to change, and what became of earlier suggestions
    redact        what must not leave the machine
    datasets      the tables that may leave it, as files
    sync          the same tables to an endpoint or a lake, for those who want it
    display       what a result shows in a notebook; text makes what others wrote safe to show
    analysis      a store as read-only frames, for notebooks
    cli           the command line over all of it

The names below are the public interface. They are imported on first use, so that importing the package is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen_analytics.analysis import Analysis, open_analysis, sample_store
    from kaizen_analytics.errors import KaizenError
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.portfolio import Portfolio
    from kaizen_analytics.experiments.power import PowerTable
    from kaizen_analytics.model import (
        Absolute,
        Branch,
        Classification,
        Delta,
        Direction,
        Experiment,
        GitCommit,
        GuardrailSpec,
        ManualTag,
        Metric,
        PromptFingerprint,
        State,
    )
    from kaizen_analytics.reports.exhibits import show_answer, show_chart, show_table, show_text
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.stats import Effect, mean_effect, median_effect, proportion_effect
    from kaizen_analytics.store import (
        Store,
        list_experiments,
        load_experiment,
        manual_tags,
        save_experiment,
        set_state,
        tag_session,
        tag_sessions,
        untag_session,
    )

__version__ = "0.1.0"

__all__ = [
    "Absolute",
    "Analysis",
    "Branch",
    "Classification",
    "Delta",
    "Direction",
    "Effect",
    "Evaluation",
    "Experiment",
    "GitCommit",
    "GuardrailSpec",
    "KaizenError",
    "ManualTag",
    "Metric",
    "Portfolio",
    "PowerTable",
    "PromptFingerprint",
    "Retro",
    "State",
    "Store",
    "list_experiments",
    "load_experiment",
    "manual_tags",
    "mean_effect",
    "median_effect",
    "open_analysis",
    "proportion_effect",
    "sample_store",
    "save_experiment",
    "set_state",
    "show_answer",
    "show_chart",
    "show_table",
    "show_text",
    "tag_session",
    "tag_sessions",
    "untag_session",
]

_ROOMS = (
    "errors",
    "model",
    "analysis",
    "stats",
    "experiments.evaluation",
    "experiments.portfolio",
    "experiments.power",
    "store",
    "reports.exhibits",
    "retro.retro",
)
"""Where the public names live, in the order in which they are looked for."""


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    if name in __all__:
        for room in _ROOMS:
            module = importlib.import_module(f"kaizen_analytics.{room}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
