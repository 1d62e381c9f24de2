"""Rows for tests of heuristics: only what a test speaks of is written down, the rest is null."""

from __future__ import annotations

import polars as pl

from kaizen_analytics.retro.heuristics import Finding, evaluate_heuristic, load_heuristics
from kaizen_analytics.retro.relations import SCHEMAS, complete_relations, open_relations

DAY_MS = 86_400_000
MINUTE_MS = 60_000
END_MS = 100 * DAY_MS
"""The end of every test's window, which is seven days long."""

Row = dict[str, object]
HEURISTICS = {heuristic.id: heuristic for heuristic in load_heuristics()}


def ask(heuristic_id: str, thresholds: dict[str, int | float | str] | None = None, **relations: list[Row]) -> Finding:
    """Ask one heuristic about a few rows of each relation."""
    given = {name: frame(name, rows) for name, rows in relations.items()}
    complete = complete_relations(given)
    with open_relations(complete) as reader:
        return evaluate_heuristic(
            HEURISTICS[heuristic_id],
            reader,
            complete,
            thresholds=thresholds or {},
            built_in={"per_week": 1.0, "window_start_ms": END_MS - 7 * DAY_MS, "window_end_ms": END_MS},
        )


def frame(relation: str, rows: list[Row]) -> pl.DataFrame:
    schema = SCHEMAS[relation]
    assert all(row.keys() <= schema.keys() for row in rows), "a row names an unknown column"
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def session(name: str, **columns: object) -> Row:
    return {"id": name, "root_id": name, "agent": "claude_code", "workspace": "/w", "started_at_ms": END_MS, **columns}


def sub_agent(name: str, parent: str, **columns: object) -> Row:
    return session(name, **{"root_id": parent, "parent_session_id": parent, **columns})


def shell(name: str, program: str, seq: int, **columns: object) -> Row:
    return call(name, "Bash", seq, tool_class="shell", program=program, **{"command": program, **columns})


def call(name: str, tool: str, seq: int, **columns: object) -> Row:
    common = {"session_id": name, "seq": seq, "ts_ms": seq, "tool": tool, "tool_class": "other", "paths": []}
    return {**common, "is_rejected": False, "is_interrupted": False, **columns}


def touch(name: str, tool_class: str, path: str, seq: int = 0, **columns: object) -> Row:
    top = path.split("/", maxsplit=1)[0] if "/" in path else None
    common = {"session_id": name, "tool_class": tool_class, "path": path, "seq": seq, "ts_ms": seq, "top_folder": top}
    return {**common, **columns}


def event(name: str, kind: str, seq: int, **columns: object) -> Row:
    return {"session_id": name, "kind": kind, "seq": seq, "ts_ms": seq, **columns}


def response(name: str, position: int, **columns: object) -> Row:
    common = {"session_id": name, "model": "m", "position": position, "seq": position, "ts_ms": position}
    return {**common, **columns}


def metrics(name: str, **columns: object) -> Row:
    return {"session_id": name, "agent": "claude_code", "started_at_ms": END_MS, **columns}
