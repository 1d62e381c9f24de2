"""Imports jsonschema without its optional checker of IRIs, which builds a grammar for two to three seconds.

nbformat and altair import jsonschema and use none of that checker. Import this module before either of them.
"""

from __future__ import annotations

import sys
from typing import Any

_GRAMMAR = "rfc3987_syntax"

if "jsonschema" not in sys.modules and _GRAMMAR not in sys.modules:
    modules: dict[str, Any] = sys.modules
    modules[_GRAMMAR] = None  # an import of it fails, and jsonschema goes without
    try:
        import jsonschema  # noqa: F401
    finally:
        del modules[_GRAMMAR]
