"""What findings cost, from transcripts: the usage in them gives the dollars that the rows of each class give.

`test_each_class` adds those up by hand, carrying included. Here its sessions are written out as transcripts, read by
`ingest` and judged.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from retro_sessions import END_MS, WINDOW, Session, judge
from test_each_class import FINDINGS, PLACES, move

from kaizen_analytics.core.model import Window
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.retro.classes import CLASSES
from kaizen_analytics.retro.findings import Finding, collect_evidence, judge_evidence
from kaizen_analytics.retro.material import read_material
from kaizen_analytics.store import Store

if TYPE_CHECKING:
    from pathlib import Path

Row = dict[str, object]
pytestmark = pytest.mark.slow
UNWRITTEN = {"lines that did not last", "a failure that a filter hides", "the plan's limit"}
"""What a transcript does not say by itself: git's part, a verdict, an error of the service without a price."""


def settle(session: Session) -> Session:
    """Return a session of Claude Code whose results are as long as their errors, one millisecond after the other."""

    def settled(row: Row) -> Row:
        long = {"chars": max(int(str(row["chars"])), len(str(row["error"] or "")))} if "tool" in row else {}
        return {**row, **long, "ts_ms": int(str(row["ts_ms"])) + int(str(row["seq"]))}

    rows = {name: [settled(row) for row in getattr(session, name)] for name in ("calls", "responses", "prompts")}
    return replace(session, agent="claude_code", **rows)  # type: ignore[arg-type]


def envelope(session: Session, row: Row, kind: str, at_ms: int | None = None, **more: object) -> str:
    at = datetime.fromtimestamp((at_ms or int(str(row["ts_ms"]))) / 1000, UTC).isoformat(timespec="milliseconds")
    place = {"cwd": session.workspace, "version": "2.1.100", "isSidechain": session.parent is not None}
    name = f"{session.name}-{row['seq']}-{kind}"
    owner = {"sessionId": session.parent or session.name}
    return json.dumps({"type": kind, "uuid": name, "timestamp": at.replace("+00:00", "Z"), **owner, **place, **more})


def write_row(session: Session, row: Row) -> list[str]:
    key = f"{session.name}-{row['seq']}"
    if "text" in row:
        return [envelope(session, row, "user", message={"role": "user", "content": row["text"]})]
    if "context_tokens" in row:
        written, read = int(str(row["write_tokens"])), row["read_tokens"]
        usage = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": read}
        usage |= {"cache_creation_input_tokens": written, "cache_creation": {"ephemeral_5m_input_tokens": written}}
        message = {"id": key, "role": "assistant", "model": row["model"], "content": [{"type": "text", "text": "."}]}
        message |= {"usage": usage, "stop_reason": row.get("stop_reason") or "end_turn"}
        return [envelope(session, row, "assistant", message=message)]
    names = {"command": "command", "path": "file_path"}
    given = {to: row[name] for name, to in names.items() if row.get(name)}
    if row.get("helper"):
        given["skill" if row["tool"] == "Skill" else "subagent_type"] = row["helper"]
    use = {"type": "tool_use", "id": key, "name": row["tool"], "input": given}
    message = {"id": f"call-{key}", "role": "assistant", "model": session.model, "content": [use], "stop_reason": None}
    text = str(row["error"] or "").ljust(int(str(row["chars"])), ".")
    result = {"type": "tool_result", "tool_use_id": key, "content": text, "is_error": row["failed"]}
    told = {"message": {"role": "user", "content": [result]}}
    return [envelope(session, row, "assistant", message=message), envelope(session, row, "user", **told)]


def write_transcript(home: Path, session: Session) -> None:
    rows = sorted([*session.calls, *session.responses, *session.prompts], key=lambda row: int(str(row["seq"])))
    start = {"seq": 0, "ts_ms": END_MS - round(session.day * 86_400_000)}
    lines = [envelope(session, start, "queue-operation", operation="enqueue")]
    segment = 0
    for row in rows:
        if row.get("segment", segment) != segment:
            segment += 1
            lines.append(envelope(session, row, "system", subtype="compact_boundary", content="Compacted"))
        lines += write_row(session, row)
    folder = home / ".claude/projects" / session.workspace.replace("/", "-")
    file = folder / f"{session.name}.jsonl"
    if session.parent is not None:
        file = folder / session.parent / "subagents" / f"agent-{session.name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def read_costs(findings: tuple[Finding, ...]) -> dict[tuple[str, str, str], float | None]:
    return {(one.kind, one.repository, one.subject): one.cost_usd for one in findings}


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """What each finding of each case costs: from rows, and from transcripts."""
    home = tmp_path_factory.mktemp("home")
    written = {name: row for name, row in FINDINGS.items() if name not in UNWRITTEN}
    # Names of files: the folder's slashes are none.
    sessions = [
        replace(moved, name=moved.name.replace("/", "-"), parent=moved.parent and moved.parent.replace("/", "-"))
        for name, (_, group, _, _) in written.items()
        for moved in (settle(move(one, PLACES[name])) for one in group)
    ]
    for session in sessions:
        for rows in (session.calls, session.responses, session.prompts):
            rows[:] = [{**row, "session_id": session.name} for row in rows]
        write_transcript(home, session)
    with Store.open(home / "kaizen.db", create=True) as store:
        run_ingest(store, [home])
        material = read_material(store, Window(start_ms=0, end_ms=END_MS))
    return read_costs(judge(*sessions)[0]), read_costs(judge_evidence(collect_evidence(material), WINDOW)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind.name for kind in CLASSES])
def test_transcripts_give_the_dollars_of_the_rows(costs: tuple[dict, dict], kind: str):
    of_rows, of_transcripts = ({key: cost for key, cost in one.items() if key[0] == kind} for one in costs)

    assert of_rows
    assert of_transcripts.keys() == of_rows.keys()
    for key, usd in of_rows.items():
        assert of_transcripts[key] == (None if usd is None else pytest.approx(usd, rel=1e-6)), key
