"""Which shell commands of a store the rules for checks recognise, and which they miss.

    python -m benchmarks.checks STORE [PAGE]

Writes the figures of docs/reference/checks-evidence.md between its markers: counts, and names of common programs; no
command.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import ROOT
from benchmarks.tables import render_table, write_figures
from kaizen_analytics.outcomes.commands import classify, read_command, read_rules, split_command
from kaizen_analytics.outcomes.sessions import _select
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PAGE = ROOT / "docs" / "reference" / "checks-evidence.md"
_GENERIC = re.compile(
    "awk|bun|bundle|bunx|cargo|cat|cd|chmod|cp|curl|cut|date|deno|diff|docker|echo|export|find|gh|git|go|grep|head|java|"
    "jq|just|kill|ls|make|mise|mkdir|mv|nl|node|npm|npx|perl|pip|pkill|pnpm|poetry|printf|ps|psql|pwd|python3?|rg|rm|"
    "ruby|sed|sleep|sort|sqlite3|swift|tail|tee|test|touch|tr|tree|true|uniq|uv|wc|which|xargs|yarn"
)
"""Programs that may be named: every machine, or every developer, has them."""
_OTHER = "any other program"
_SHOWN = 25


def describe(rows: Iterable[Mapping[str, object]]) -> str:
    """Return the tables of some rows of `sql/outcomes/shell_commands.sql`."""
    kinds: Counter[str] = Counter()
    results: Counter[tuple[str, bool | None]] = Counter()
    missed: Counter[str] = Counter()
    summaries: Counter[str] = Counter()
    n_commands = n_parts = n_commits = 0
    for row in rows:
        command = str(row["command"] or "")
        if not command:
            continue
        n_commands += 1
        facts = read_command(command, failed=row["failed"], says=row["says"])  # type: ignore[arg-type] # as declared
        n_commits += facts.commits
        parts = split_command(command)
        n_parts += len(parts)
        for part in parts:
            kind = classify(part.words)
            program = part.words[0].rpartition("/")[2]
            if kind is not None:
                kinds[kind] += 1
            else:
                named = program if _GENERIC.fullmatch(program) else _OTHER
                missed[named] += 1
                summaries[named] += facts.check is None and row["says"] is not None
        if facts.check is not None:
            results[facts.check, facts.passed] += 1
    return "\n\n".join([
        f"{n_commands:,} shell commands with {n_parts:,} simple commands; {n_commits:,} of them make a commit.",
        "**Recognised**, by kind: simple commands, and commands by what is known of their result",
        render_table(
            ["kind", "simple commands", "passed", "failed", "unknown"],
            [[kind, f"{kinds[kind]:,}", *(f"{results[kind, known]:,}" for known in (True, False, None))]
             for kind in read_rules().kinds],
        ),
        f"**Not recognised**: the {_SHOWN} most frequent programs",
        _list(missed),
        "**Perhaps missed**: commands without a recognised check whose output reads like a summary, by their programs",
        _list(summaries),
    ])  # fmt: skip


def _list(counts: Counter[str]) -> str:
    rows = [(name, count) for name, count in counts.most_common(_SHOWN) if count]
    return ", ".join(f"{name if name == _OTHER else f'`{name}`'} {count:,}" for name, count in rows) or "none"


def main() -> None:
    """Write the figures of a store into the page."""
    page = Path(sys.argv[2]) if len(sys.argv) > 2 else PAGE
    with Store.open(Path(sys.argv[1]), ours=True) as store:
        found = describe(_select(store, "shell_commands", "session_roots", "tool_results"))
    write_figures(page, found)


if __name__ == "__main__":
    main()
