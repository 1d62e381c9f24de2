"""Imports libraries without optional parts of theirs that nothing here uses and that take long to load.

Import this module before nbformat, altair or papermill: all of them import jsonschema.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def load_papermill() -> None:
    """Import papermill without pyarrow, by which it would read from HDFS: it brings numpy along, and threads."""
    _import_without("papermill.iorw", "pyarrow.fs")


def _import_without(module: str, part: str) -> None:
    """Import `module`, which does without `part` where that cannot be imported."""
    modules: dict[str, Any] = sys.modules
    if module in modules or part in modules:
        return
    modules[part] = None
    try:
        importlib.import_module(module)
    finally:
        del modules[part]


# The checker of IRIs builds a grammar for two to three seconds.
_import_without("jsonschema", "rfc3987_syntax")
