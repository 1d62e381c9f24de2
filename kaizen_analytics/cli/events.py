"""One event of a session as a line, for `sessions show` and `tail`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from kaizen_analytics.cli.output import clean, terminal_width
from kaizen_analytics.cli.times import render_time

if TYPE_CHECKING:
    from collections.abc import Mapping

_ABOUT, _WHO, _WIDE, _USUAL = 90, 14, 100, 80
"""Characters that a line of an event gives to what it was about, and, in a terminal below `_WIDE` columns, to who."""


def render_event(row: Mapping[str, Any], *, before: str = "") -> str:
    """Return one event as a line behind `before`: time, kind or tool, what it was about, tokens and cost.

    On a terminal, what it was about is cut so that the line fits. One below 100 columns shows neither the date nor the
    cost, one below 80 no tokens either.

    >>> row = dict.fromkeys(("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens"))
    >>> row |= {"ts_ms": 0, "kind": "ToolCall", "tool": "Bash", "payload": '{"input": {"command": "make"}}'}
    >>> render_event(row)
    '1970-01-01 00:00:00  call       Bash  make'
    """
    width = terminal_width() or sys.maxsize
    narrow = width < _WIDE
    payload = payload_of(row)
    about = payload.get("text") or payload.get("error") or payload.get("event") or _input_of(payload)
    failed = " FAILED" if payload.get("is_error") is True else ""
    name = {"ToolCall": "call", "ToolResult": "result"}.get(row["kind"], row["kind"].lower())
    who = row["tool"] or payload.get("role") or ""
    when, who = render_time(row["ts_ms"]), clean(f"{who}{failed}")
    usage = "" if width < _USUAL else _usage_of(row, priced=not narrow)
    if narrow:
        when, who = when[11:], who[:_WHO]
    head = "  ".join([*([before] if before else []), when, f"{name:9}", who])
    room = min(_ABOUT, width - len(f"{head}    {usage}"))
    return f"{head}  {clean(' '.join(str(about).split()))[: max(room, 0)]}  {usage}".rstrip()


def payload_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's payload as an object; an empty one where another tool stored something else.

    >>> payload_of({"payload": '{"text": "go"}'}), payload_of({"payload": "[1]"})
    ({'text': 'go'}, {})
    """
    try:
        payload = json.loads(row["payload"])
    except (ValueError, RecursionError):
        return {}
    return payload if isinstance(payload, dict) else {}


def _input_of(payload: Mapping[str, Any]) -> str:
    given = payload.get("input")
    if not isinstance(given, dict):
        return ""
    return next(
        (str(given[name]) for name in ("command", "cmd", "path", "pattern", "query", "url") if name in given), ""
    )


def _usage_of(row: Mapping[str, Any], *, priced: bool = True) -> str:
    tokens = count_new_tokens(row)
    if tokens is None:
        return ""
    cost = "no price" if row["cost_usd_e6"] is None else f"${row['cost_usd_e6'] / 1e6:.4f}"
    return f"[{tokens:,} tokens, {cost}]" if priced else f"[{tokens:,} tokens]"


def count_new_tokens(row: Mapping[str, Any]) -> int | None:
    """Return how many tokens an event or a session has beside those that were read from a cache; None where none tells.

    >>> count_new_tokens({"tokens_in": 3, "cache_creation_tokens": None, "tokens_out": 4, "reasoning_tokens": None})
    7
    """
    counts = [row[name] for name in ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
