"""The store: one SQLite file, reached only through DuckDB's sqlite extension.

`connection` opens it and runs statements, `schema` migrates it, `experiments` keeps experiments and tags, `sessions`
keeps what was ingested.
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
