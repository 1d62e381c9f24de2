"""A recorded home folder against an independent reading of it; skipped where `KAIZEN_TEST_TRANSCRIPTS` names none.

The folder holds `home/` and `EXPECTED.jsonl`, one line for each transcript.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.store import Store

_FOLDER = os.environ.get("KAIZEN_TEST_TRANSCRIPTS")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(_FOLDER is None, reason="KAIZEN_TEST_TRANSCRIPTS names no folder")]

_FACTS = """select coalesce(sum(tokens_out is not null), 0), coalesce(sum(tokens_in), 0),
    coalesce(sum(cache_creation_tokens), 0), coalesce(sum(cache_read_tokens), 0),
    coalesce(sum(coalesce(tokens_out, 0) + coalesce(reasoning_tokens, 0)), 0),
    coalesce(sum(coalesce(payload->>'prompt', 0)), 0), coalesce(sum(kind = 'ToolCall'), 0),
    coalesce(sum(kind = 'ToolResult'), 0) from events where payload->>'advisor' is null"""


def _expected(line):
    if "tokens" not in line:
        names = ("api_messages", "input", "cache_creation", "cache_read", "output", "human_prompts", "tool_calls")
        return tuple(line.get(name, 0) for name in (*names, "tool_results"))
    tokens = line["tokens"]
    given, cached, output = (tokens.get(name, 0) for name in ("input_tokens", "cached_input_tokens", "output_tokens"))
    told = (line.get("usage_events", 0), given - cached, 0, cached, output)
    with (Path(_FOLDER) / "home" / line["path"]).open() as file:
        source = json.loads(file.readline())["payload"].get("source")
    # The independent reading also counts what programs wrote to sub-agents.
    prompts = 0 if isinstance(source, dict) else line.get("human_prompts", 0)
    return (*told, prompts, line.get("tool_calls", 0), line.get("tool_results", 0))


def _facts(store):
    return tuple(map(int, store.native(_FACTS)[0]))


@pytest.fixture(scope="module")
def oracle():
    return [json.loads(text) for text in (Path(_FOLDER) / "EXPECTED.jsonl").read_text().splitlines()]


def test_each_recorded_file_alone_is_read_as_an_independent_reading_reads_it(tmp_path, oracle):
    differences = []
    for number, line in enumerate(oracle):
        home = tmp_path / str(number)
        (home / line["path"]).parent.mkdir(parents=True)
        shutil.copy(Path(_FOLDER) / "home" / line["path"], home / line["path"])
        with Store.open(tmp_path / f"{number}.db", create=True) as store:
            run_ingest(store, [home])
            if (found := _facts(store)) != _expected(line):
                differences.append((line["path"], found, _expected(line)))

    assert differences == []


@pytest.mark.parametrize("runs", [1, 3])
def test_the_recorded_files_together_count_each_response_once(tmp_path, oracle, runs):
    home, files = tmp_path / "home", sorted(path for path in (Path(_FOLDER) / "home").rglob("*") if path.is_file())
    with Store.open(tmp_path / "store.db", create=True) as store:
        for run in range(runs):
            for path in files[run::runs]:
                copy = home / path.relative_to(Path(_FOLDER) / "home")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            run_ingest(store, [home])
        found = store.native("select sum(tokens_out), count(*) from events where source = 'Tail'"
                             " and tokens_out is not null and payload->>'advisor' is null"
                             " and session_id in (select id from sessions where agent = 'claude_code')")  # fmt: skip
        responses = {}
        for line in oracle:
            if "tokens" not in line:
                _collect(Path(_FOLDER) / "home" / line["path"], responses)
        assert [tuple(map(int, row)) for row in found] == [(_output(responses), len(responses))]


def _collect(path, responses):
    """Keep the largest output of each response id, over all lines of all files."""
    for text in path.read_text(errors="replace").splitlines():
        try:
            record = json.loads(text)
        except ValueError:
            continue
        message = record.get("message") if isinstance(record, dict) and record.get("type") == "assistant" else None
        if message and isinstance(message.get("usage"), dict):
            name = message.get("id") or record["uuid"]
            told = message["usage"]
            output = told.get("output_tokens") or 0
            whole = sum(told.get(key) or 0 for key in ("input_tokens", "cache_creation_input_tokens"))
            responses[name] = max(responses.get(name, (0, 0)), (output, whole))


def _output(responses):
    reasoning = 0
    return sum(output for output, _ in responses.values()) - reasoning
