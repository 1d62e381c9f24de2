"""What one ingest did and what its sources hold, per agent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen_analytics.ingest.checkpoints import Checkpoint
    from kaizen_analytics.ingest.records import Agent, Json

_TOKEN_COLUMNS = ("tokens_in", "cache_creation_tokens", "cache_read_tokens", "tokens_out", "reasoning_tokens")


@dataclass(slots=True)
class AgentSummary:
    """Totals over the sources of one agent that were found, and what this run read of them.

    `files_read` of the `files` were opened by this run; some of them are databases, which hold `conversations`.
    `tokens` holds None for a column that no response carries. `waiting` counts files whose last line is not complete
    yet, `unreadable` files that could not be opened, `failed` files on which this program itself failed. `kept_events`
    and `kept_prompts` live only in the store, because their files lost them or are gone; `kept_sessions` have no other
    events. `unknown_kinds` counts the records that were accepted without being understood, because no known build
    writes their kind.
    """

    files: int = 0
    files_read: int = 0
    databases: int = 0
    conversations: int = 0
    bytes_read: int = 0
    sessions: int = 0
    events: int = 0
    new_events: int = 0
    lines: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    responses: int = 0
    prompts: int = 0
    tool_calls: int = 0
    tool_results: int = 0
    tool_errors: int = 0
    tokens: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(_TOKEN_COLUMNS))
    cost_usd_e6: int = 0
    unpriced_responses: int = 0
    unreliable_responses: int = 0
    unknown_models: Counter[str] = field(default_factory=Counter)
    unknown_kinds: Counter[str] = field(default_factory=Counter)
    kept_sessions: int = 0
    kept_events: int = 0
    kept_prompts: int = 0
    waiting: int = 0
    unreadable: int = 0
    failed: int = 0

    def add_file(self, row: Checkpoint) -> None:
        """Count the lines of one file."""
        if row.rejects or row.state:  # most files have neither
            self.rejects.update(row.rejects)
            self.unknown_kinds.update(row.state.get("unknown_kinds", {}))
        self.lines += row.n_lines

    def add_session(self, tally: Json) -> None:
        """Count what one session holds."""
        self.sessions += 1
        for name in ("events", "responses", "prompts", "tool_calls", "tool_results", "tool_errors"):
            setattr(self, name, getattr(self, name) + tally[name])
        for name, count in zip(_TOKEN_COLUMNS, tally["tokens"], strict=True):
            if count is not None:
                self.tokens[name] = (self.tokens[name] or 0) + count
        self.cost_usd_e6 += tally["cost_e6"]
        self.unpriced_responses += tally["unpriced"]
        self.unreliable_responses += tally["unreliable"]
        if tally["unknown"]:
            self.unknown_models.update(tally["unknown"])

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON; `cost_usd` is in dollars and covers priced responses only."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "cost_usd_e6"}
        for name in ("rejects", "unknown_models", "unknown_kinds"):
            plain[name] = dict(sorted(plain[name].items()))
        return plain | {"cost_usd": self.cost_usd_e6 / 1e6}


@dataclass(slots=True)
class IngestSummary:
    """The result of `run_ingest`."""

    agents: dict[Agent, AgentSummary]
    warnings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Files on which this program itself failed."""
        return sum(agent.failed for agent in self.agents.values())

    @property
    def new_events(self) -> int:
        """Events that this run wrote."""
        return sum(agent.new_events for agent in self.agents.values())

    def to_json(self) -> dict[str, Any]:
        """Return the summary as one JSON document."""
        agents = {agent.value: summary.to_json() for agent, summary in self.agents.items()}
        return {"agents": agents, "warnings": self.warnings}
