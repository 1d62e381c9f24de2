"""The real Claude Code calls each tool of our MCP server, and its model reads the numbers of the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from laboratory import Laboratory

CALLS = {
    "usage": {"by": ["agent"], "days": 7},
    "sessions": {"days": 7, "limit": 5},
    "outcomes": {"days": 7},
    "experiments": {},
    "evaluate": {"experiment": "e1"},
    "power": {"metric": "tokens_per_session"},
    "retro": {"days": 7},
}
ANSWERS = {"total", "sessions", "outcomes", "experiments", "judgement", "findings"}
"""A field of each answer but that of `power`, which two sessions are too few for."""


def test_the_model_of_claude_code_reads_the_numbers_of_the_command_line(make_laboratory: Callable[..., Laboratory]):
    lab = make_laboratory()
    (lab.home / "brief.md").write_text("Be brief.\n")
    lab.start_experiment("e1", f"--treatment-text={lab.home / 'brief.md'}")
    for number in range(2):
        lab.claude(f"TOOL {number}")
    lab.ingest()
    server = {"command": sys.executable, "args": ["-m", "kaizen_analytics", "mcp"]}
    options = ("--mcp-config", json.dumps({"mcpServers": {"kaizen": server}}), "--allowedTools", "mcp__kaizen")

    # Without this, the agent asks for the schemas of the tools first.
    session = lab.claude(f"MCP {json.dumps(CALLS)}", *options, via=["env", "ENABLE_TOOL_SEARCH=false"])

    told = [json.loads(text) for text in lab.stand_in.of(session)[-1].text.splitlines() if text.startswith('{"')]
    answers = {name: document for document in told for name in (document.keys() & ANSWERS) - {"experiments"}}
    [answers["experiments"]] = [document for document in told if document.keys() == {"experiments"}]
    assert answers.keys() == ANSWERS
    usage = lab.kaizen("usage", "--by", "agent")
    assert answers["total"]["total"] == usage["total"]
    assert len(answers["sessions"]["sessions"]) == 5
    evaluated = lab.kaizen("exp", "evaluate", "e1")
    assert answers["judgement"]["arms"] == evaluated["arms"]
    assert answers["experiments"]["experiments"][0]["decision"] == evaluated["decision"]["headline"]
    assert "Planning needs at least" in lab.stand_in.of(session)[-1].text
