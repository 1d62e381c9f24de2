"""The store: one SQLite file, reached only through DuckDB's sqlite extension.

location                            where it is
connection, schema, sql, cells      opens it and runs statements; migrates it; quotes; finds cells that spoil a scan
sessions, frames                    writes what was ingested; reads it as Polars frames
experiments, assignments, retros    keep plans, tags and results; what was drawn; findings
checks, importing                   what `doctor` and `import` do
"""

from kaizen_analytics.store.connection import Store
from kaizen_analytics.store.experiments import (
    get_experiment,
    is_frozen,
    list_experiments,
    load_experiment,
    manual_tags,
    save_experiment,
    set_state,
    tag_session,
    tag_sessions,
    unreadable_experiments,
    untag_session,
)
from kaizen_analytics.store.sessions import write_sessions

__all__ = [
    "Store",
    "get_experiment",
    "is_frozen",
    "list_experiments",
    "load_experiment",
    "manual_tags",
    "save_experiment",
    "set_state",
    "tag_session",
    "tag_sessions",
    "unreadable_experiments",
    "untag_session",
    "write_sessions",
]
