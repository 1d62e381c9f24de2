"""Imports what every report needs, for the process that `batch` forks.

It must not start a thread: a fork copies the locks that other threads hold, and nobody opens the copies. So polars,
duckdb and pyarrow (which papermill imports) are not here; each starts threads when it is imported.
"""

from __future__ import annotations

import importlib

from kaizen_analytics.reports import rendering

for _name in ("IPython.core.interactiveshell", "kaizen_analytics.reports.conclusion"):
    importlib.import_module(_name)
rendering.load_exporters()
