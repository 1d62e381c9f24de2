"""Redaction: what stands between this machine and everything that leaves it.

    placeholders   what replaces a value, in a form that no rule can match
    values, names  is this value a credential; what does the name beside it promise
    tokens         formats of vendors' tokens
    assignments    values beside telling names
    contexts       URLs, headers, cookies, commands, private keys
    identities     people, machines, organisations: patterns, and those known beforehand
    runs           encoded text, tokens without a known prefix, addresses
    canonical      views with escapes removed, and the way back to the original bytes
    scanner        all of these over one text
    redactor       replace until nothing is left to find
    stream         line by line
    trees          every text inside a record
    pseudonyms     stable stand-ins under a key
    projection     the columns that may leave
    artefacts      the last look at a finished file
    machine        what this machine knows about its owner; a redactor ready to use

Heavy modules are imported on first use: `from kaizen_analytics.redact import Redactor`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen_analytics.redact.artefacts import Leak, find_leaks, refuse_leaks, rescan
    from kaizen_analytics.redact.identities import KnownIdentities, identities_of_machine, parse_git_settings
    from kaizen_analytics.redact.machine import collect_identities, find_key, open_redactor
    from kaizen_analytics.redact.projection import Column, ColumnKind, Projection
    from kaizen_analytics.redact.pseudonyms import Pseudonyms, load_key
    from kaizen_analytics.redact.redactor import Redactor, redact_many
    from kaizen_analytics.redact.scanner import Scanner
    from kaizen_analytics.redact.spans import Finding
    from kaizen_analytics.redact.stream import Line, Tally, redact_lines
    from kaizen_analytics.redact.trees import redact_tree

__all__ = [
    "Column",
    "ColumnKind",
    "Finding",
    "KnownIdentities",
    "Leak",
    "Line",
    "Projection",
    "Pseudonyms",
    "Redactor",
    "Scanner",
    "Tally",
    "collect_identities",
    "find_key",
    "find_leaks",
    "identities_of_machine",
    "load_key",
    "open_redactor",
    "parse_git_settings",
    "redact_lines",
    "redact_many",
    "redact_tree",
    "refuse_leaks",
    "rescan",
]

_HOMES = {
    "Column": "projection",
    "ColumnKind": "projection",
    "Finding": "spans",
    "KnownIdentities": "identities",
    "Leak": "artefacts",
    "Line": "stream",
    "Projection": "projection",
    "Pseudonyms": "pseudonyms",
    "Redactor": "redactor",
    "Scanner": "scanner",
    "Tally": "stream",
    "collect_identities": "machine",
    "find_key": "machine",
    "find_leaks": "artefacts",
    "identities_of_machine": "identities",
    "load_key": "pseudonyms",
    "open_redactor": "machine",
    "parse_git_settings": "identities",
    "redact_lines": "stream",
    "redact_many": "redactor",
    "redact_tree": "trees",
    "refuse_leaks": "artefacts",
    "rescan": "artefacts",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes are of any type
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
