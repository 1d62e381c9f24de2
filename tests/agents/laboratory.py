"""A home, a repository and the real agents in an empty environment, with nothing but the stand-in to talk to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from stand_in import StandIn, Tokens

from kaizen_analytics.core.model import State
from kaizen_analytics.store import Store, set_state
from kaizen_analytics.store.assignments import fold_spool, read_draws
from kaizen_analytics.store.sessions import write_sessions

if TYPE_CHECKING:
    from collections.abc import Sequence

PINNED = {"claude": "2.1.332", "former": "2.1.197", "codex": "0.171.0"}
_PACKAGES = {"claude": "@anthropic-ai/claude-code", "former": "@anthropic-ai/claude-code", "codex": "@openai/codex"}
TIMEOUT_S = 60
_CODEX_CONFIG = """model = "gpt-5.3-codex"
model_provider = "standin"
[model_providers.standin]
name = "standin"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "STANDIN_KEY"
"""


def install_agent(name: str, version: str, cache: Path, npm: str) -> Path:
    """Return the program of an agent, installed from npm into a folder of the cache if it is not there yet."""
    folder = cache / f"{name}-{version}"
    program = folder / "node_modules" / ".bin" / ("codex" if name == "codex" else "claude")
    if version == "latest" or not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--prefix",
            folder,
            f"{_PACKAGES[name]}@{version}",
        ]
        subprocess.run(command, check=True, timeout=600)
    return program


@dataclass(frozen=True)
class Laboratory:
    """One home with its agents. `home` is a folder, `url` the stand-in."""

    home: Path
    stand_in: StandIn
    claude_program: Path
    codex_program: Path

    @property
    def repository(self) -> Path:
        return self.home / "repo"

    @property
    def store(self) -> Path:
        return self.home / "store" / "kaizen.db"

    @property
    def environment(self) -> dict[str, str]:
        """All that an agent finds: nothing of the user's, no telemetry, no update, one loopback address."""
        return {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.home),
            "LOGNAME": "ada",
            "ANTHROPIC_BASE_URL": self.stand_in.url,
            "ANTHROPIC_API_KEY": "sk-ant-not-a-key",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_AUTOUPDATER": "1",
            "STANDIN_KEY": "not-a-key",
            "KAIZEN_STORE": str(self.store),
        }

    def prepare(self) -> Laboratory:
        """Make the repository and the agents' settings."""
        self.repository.mkdir(parents=True)
        git = ["git", "-C", self.repository, "-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        subprocess.run(["git", "init", "-q", "-b", "main", self.repository], check=True)
        (self.repository / "a.txt").write_text("hello\n")
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
        for folder in (".claude", ".codex", "store"):
            (self.home / folder).mkdir()
        allowed = {"permissions": {"allow": ["Bash(echo:*)", "Bash(ls:*)", "Agent", "Task"]}}
        (self.home / ".claude" / "settings.json").write_text(json.dumps(allowed, indent=2) + "\n")
        (self.home / ".codex" / "config.toml").write_text(_CODEX_CONFIG.format(url=self.stand_in.url))
        self.add_past()
        return self

    def add_past(self) -> None:
        """Store thirty sessions of the last days: an experiment starts where there is something to draw."""
        now_ms = time.time_ns() // 1_000_000
        rows = [
            {
                "id": f"past{i}",
                "agent": "claude_code",
                "workspace": str(self.repository),
                "started_at_ms": now_ms - (i + 1) * 3_600_000,
                "status": "Done",
                "trace_path": "",
                "repo_binding_source": "",
            }
            for i in range(30)
        ]
        with Store.open(self.store, create=True) as store:
            write_sessions(store, pl.DataFrame(rows), {})

    def start_experiment(self, name: str, *options: str) -> dict[str, Any]:
        """Plan and start an experiment drawn by session, and return what its hooks read."""
        rule = ["--metric", "tokens_per_session", "--target-pct", "-20", "--planned-n", "20"]
        self.kaizen("exp", "new", "--id", name, "--name", name, *rule, "--assign", "session", *options)
        self.kaizen("exp", "start", name)
        return dict(json.loads((self.home / ".kaizen" / "assignments" / f"{name}.json").read_text()))

    def draws(self, name: str) -> dict[str, str | None]:
        """Return the arm of each session whose draw was recorded."""
        with Store.open(self.store) as store:
            fold_spool(store)
            return {draw.session_id: None if draw.arm is None else draw.arm.value for draw in read_draws(store, name)}

    def withdraw(self, name: str) -> None:
        """Let no session be drawn any more; two texts at once would need more parts."""
        with Store.open(self.store) as store:
            set_state(store, name, State.ARCHIVED, 0)
        (self.home / ".kaizen" / "assignments" / f"{name}.json").unlink()

    def claude_command(self, prompt: str, *options: str) -> list[str]:
        return [str(self.claude_program), "-p", prompt, "--output-format", "json", *options]

    def codex_command(self, *words: str) -> list[str]:
        return [
            str(self.codex_program),
            "exec",
            "--json",
            "--skip-git-repo-check",
            "--dangerously-bypass-hook-trust",
            *words,
        ]

    def claude(self, prompt: str, *options: str, via: Sequence[str] = ()) -> str:
        """Run Claude Code once and return the session's id."""
        out = self.run([*via, *self.claude_command(prompt, *options)])
        return str(json.loads(out.strip().splitlines()[-1])["session_id"])

    def codex(self, *words: str, via: Sequence[str] = ()) -> str:
        """Run Codex once and return the session's id."""
        out = self.run([*via, *self.codex_command(*words)])
        events = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return str(next(event["thread_id"] for event in events if event["type"] == "thread.started"))

    def run(self, command: Sequence[str]) -> str:
        run = subprocess.run(
            command,
            cwd=self.repository,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert run.returncode == 0, f"{command}\n{run.stdout[-2000:]}\n{run.stderr[-2000:]}"
        return run.stdout

    def kaizen(self, *words: str) -> Any:
        """Run a command of ours with --json and return the document."""
        return json.loads(self.run([sys.executable, "-m", "kaizen_analytics", *words, "--json"]))

    def ingest(self) -> dict[str, Any]:
        return dict(self.kaizen("ingest", "--home", str(self.home), "--store", str(self.store)))

    def stored_tokens(self) -> dict[str, Tokens]:
        """Return the tokens of each root session with its sub-agents."""
        with Store.open(self.store, read_only=True) as store:
            rows = store.native(
                "select coalesce(s.parent_session_id, s.id), sum(coalesce(e.tokens_in, 0)), "
                "sum(coalesce(e.cache_creation_tokens, 0)), sum(coalesce(e.cache_read_tokens, 0)), "
                "sum(coalesce(e.tokens_out, 0)), sum(coalesce(e.reasoning_tokens, 0)) "
                "from events e join sessions s on s.id = e.session_id group by 1"
            )
        names = ("input", "cache_creation", "cache_read", "output", "reasoning")
        return {str(root): Tokens(**dict(zip(names, map(int, counts), strict=True))) for root, *counts in rows}

    def told_tokens(self, session: str) -> Tokens | None:
        """Return what Claude Code itself says that a session used, None in a version that does not say it."""
        [file] = self.home.glob(f".claude/projects/*/{session}.jsonl")
        states = [json.loads(line) for line in file.read_text().splitlines() if '"cost-state"' in line]
        if not states:
            return None
        used = states[-1]["modelUsage"].values()
        return Tokens(
            input=sum(model["inputTokens"] for model in used),
            cache_creation=sum(model["cacheCreationInputTokens"] for model in used),
            cache_read=sum(model["cacheReadInputTokens"] for model in used),
            output=sum(model["outputTokens"] for model in used),
        )

    def record_kinds(self) -> Counter[str]:
        """Return how many records of each kind the agents wrote."""
        files = [*self.home.glob(".claude/projects/**/*.jsonl"), *self.home.glob(".codex/sessions/**/*.jsonl")]
        return Counter(json.loads(line).get("type", "") for file in files for line in file.read_text().splitlines())
