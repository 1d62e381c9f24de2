"""Agent observability that a team can defend: exact ingestion, experiments judged with honest statistics, reports.

The rooms, in the order in which data flows through them:

    hook          what an agent calls when a session starts: the lot, and the text of the arm
    core          the model, metrics, words, errors and git, which every room knows
    redact        what must not leave the machine
    store         one SQLite file, reached through DuckDB's sqlite extension
    ingest        transcripts of Claude Code, Codex and Cursor -> sessions, events, rejects
    outcomes      what came of a session: checks, commits, what landed, what is left of it
    usage         tokens, cost, tools and the course of a session, added up from events
    stats         the statistics, pure functions on arrays
    experiments   which session belongs to which arm, the life of an experiment, its evaluation
    retro         what recurs in past sessions, what it costs, and the text that would end it
    pages         results as one page, in HTML, Markdown and for the terminal
    reports       notebooks, run unattended and published whole or not at all
    exports       the tables that may leave the machine, as files and in a lake
    analysis      a store as read-only frames, for notebooks
    serving       the answers of the command line, as read-only tools for an agent
    cli           the command line over all of it

The names below are the public interface. They are imported on first use, so that importing the package is cheap.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:  # the hook imports this file, and `typing` would take as long as all that it does
    from typing import Any

__version__ = "0.1.0"

_MODULES = {
    "Absolute": "core.model",
    "Analysis": "analysis",
    "Branch": "core.model",
    "Classification": "core.model",
    "Delta": "core.model",
    "Direction": "core.model",
    "Effect": "stats",
    "Evaluation": "experiments.evaluation",
    "Experiment": "core.model",
    "GitCommit": "core.model",
    "GuardrailSpec": "core.model",
    "KaizenError": "core.errors",
    "ManualTag": "core.model",
    "Metric": "core.model",
    "Portfolio": "experiments.portfolio",
    "PowerTable": "experiments.power",
    "PromptFingerprint": "core.model",
    "Retro": "retro.retro",
    "State": "core.model",
    "Store": "store",
    "list_experiments": "store",
    "load_experiment": "store",
    "manual_tags": "store",
    "mean_effect": "stats",
    "median_effect": "stats",
    "open_analysis": "analysis",
    "proportion_effect": "stats",
    "render_text": "pages.summary",
    "sample_store": "analysis",
    "save_experiment": "store",
    "set_state": "store",
    "show_answer": "pages.exhibits",
    "show_chart": "pages.exhibits",
    "show_table": "pages.exhibits",
    "show_text": "pages.exhibits",
    "tag_session": "store",
    "tag_sessions": "store",
    "untag_session": "store",
}
"""The module of every public name."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public object
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
