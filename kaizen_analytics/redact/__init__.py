"""Redaction: replaces secrets, people, machines and organisations in any text. Imports nothing but `core.errors`.

    rules/*.toml   what is looked for: formats, contexts, people, word lists, patterns
    data           the word lists and patterns of the engine, loaded, and tables of bytes
    rules          rules, loaded and compiled
    checks         whether a match is what it looks like
    values         what a name promises about its value; is this value a credential
    assignments    values beside telling names
    tables         values below telling names
    blocks         private keys
    runs           encoded text, tokens without a known prefix, addresses, numbers with check digits
    canonical      views with escapes and invisible characters removed, and the way back to the original bytes
    scanner        all of these over one text
    redactor       replace until nothing is left to find: in texts, lines and records
    spans          findings, and what replaces them, in a form that no rule can match
    pseudonyms     what this machine knows about its owner; stable names under a key
    artefacts      the scan of a finished file

Heavy modules are imported on first use: `from kaizen_analytics.redact import Redactor`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen_analytics.redact.artefacts import find_leaks, refuse_leaks
    from kaizen_analytics.redact.pseudonyms import (
        KnownIdentities,
        Pseudonyms,
        collect_identities,
        find_key,
        identities_of_machine,
        load_key,
    )
    from kaizen_analytics.redact.redactor import (
        Redactor,
        Tally,
        cover_secrets,
        open_redactor,
        redact_lines,
        redact_many,
        redact_tree,
    )
    from kaizen_analytics.redact.scanner import Scanner
    from kaizen_analytics.redact.spans import Category, Detection

__all__ = [
    "Category",
    "Detection",
    "KnownIdentities",
    "Pseudonyms",
    "Redactor",
    "Scanner",
    "Tally",
    "collect_identities",
    "cover_secrets",
    "find_key",
    "find_leaks",
    "identities_of_machine",
    "load_key",
    "open_redactor",
    "redact_lines",
    "redact_many",
    "redact_tree",
    "refuse_leaks",
]

_HOMES = {
    "artefacts": ("find_leaks", "refuse_leaks"),
    "pseudonyms": (
        "KnownIdentities",
        "Pseudonyms",
        "collect_identities",
        "find_key",
        "identities_of_machine",
        "load_key",
    ),
    "redactor": ("Redactor", "Tally", "cover_secrets", "open_redactor", "redact_lines", "redact_many", "redact_tree"),
    "scanner": ("Scanner",),
    "spans": ("Category", "Detection"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes are of any type
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
