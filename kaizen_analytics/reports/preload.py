"""Imports what every report needs, for the process that `batch` forks.

It must not start a thread: a fork copies the locks that other threads hold, and nobody opens the copies. So polars,
duckdb and pyarrow are not here; each starts threads when it is imported.
"""

from __future__ import annotations

import importlib

from kaizen_analytics.reports import lean, rendering

lean.load_papermill()
for _name in (
    "IPython.core.interactiveshell",
    "kaizen_analytics.reports.conclusion",
    "kaizen_analytics.reports.in_process",
):
    importlib.import_module(_name)
rendering.load_exporters()
