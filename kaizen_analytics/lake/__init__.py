"""The lake: the allow-listed facts of many stores in one folder or object store.

    schema      what leaves: tables, columns, kinds
    keys        the key that all machines of a lake share, and the name of a source
    places      a folder or an object store, written file by file, never by halves
    catalogue   which files of a source count, replaced in one step
    facts       what a store holds of each table
    export      stage what changed, look at it once more, publish it
    reading     many sources as one set of relations; every metric on any engine
    experiments evaluations on a lake

Heavy modules are imported on first use: `from kaizen_analytics.lake import export_lake`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen_analytics.lake.experiments import Helpers, evaluate_lake
    from kaizen_analytics.lake.export import LakeExport, LakePlan, PlannedFile, export_lake, plan_export
    from kaizen_analytics.lake.keys import load_lake_key, make_lake_key
    from kaizen_analytics.lake.reading import Lake, read_lake, read_metrics

__all__ = [
    "Helpers",
    "Lake",
    "LakeExport",
    "LakePlan",
    "PlannedFile",
    "evaluate_lake",
    "export_lake",
    "load_lake_key",
    "make_lake_key",
    "plan_export",
    "read_lake",
    "read_metrics",
]

_HOMES = {
    "Helpers": "experiments",
    "Lake": "reading",
    "LakeExport": "export",
    "LakePlan": "export",
    "PlannedFile": "export",
    "evaluate_lake": "experiments",
    "export_lake": "export",
    "load_lake_key": "keys",
    "make_lake_key": "keys",
    "plan_export": "export",
    "read_lake": "reading",
    "read_metrics": "reading",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - module attributes are of any type
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
