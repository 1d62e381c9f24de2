"""Which sessions, or responses, a command is about: the options that choose them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from kaizen_analytics.cli.options import Options, WorkspaceOption
from kaizen_analytics.cli.times import TIME_HELP, parse_optional_time
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.ingest.discover import parse_agents
from kaizen_analytics.usage import Chosen


@dataclass(frozen=True, kw_only=True)
class Filter(Options):
    """A period, a folder and an agent."""

    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"Leave out what started before TIME. {TIME_HELP}")
    ] = None
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Leave out what started at or after TIME.")] = None
    workspace: WorkspaceOption = None
    agent: Annotated[str | None, typer.Option(help="Only claude_code, codex or cursor.")] = None

    def choose(self, now_ms: int, timezone: str = "UTC", *, last: str | None = None) -> Chosen:
        """Return what the options choose; `last` stands for `since`.

        Raises:
            ConfigError: a time cannot be read, the period is empty, or there is no such agent.
        """
        if self.since is not None and last is not None:
            raise ConfigError("Give --since or --last, not both.")
        since_ms = parse_optional_time(self.since or last, now_ms, timezone)
        until_ms = parse_optional_time(self.until, now_ms, timezone)
        if since_ms is not None and until_ms is not None and until_ms <= since_ms:
            begin = self.since or last
            raise ConfigError(f"--until {self.until} is not after --since {begin}; there is nothing between them.")
        agent = None if self.agent is None else next(iter(parse_agents([self.agent]))).value
        return Chosen(since_ms=since_ms, until_ms=until_ms, workspace=self.workspace, agent=agent)
