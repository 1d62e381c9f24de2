"""The commands `exp …`, `metrics` and `doctor`, from words to exit codes."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from typer.core import TyperGroup as Group
from typer.main import get_command

from kaizen_analytics.cli import app, main
from kaizen_analytics.cli import experiments as commands
from kaizen_analytics.cli.times import parse_time
from kaizen_analytics.errors import ConfigError
from kaizen_analytics.store import Store
from kaizen_analytics.store.sessions import write_sessions

DOCS = Path(__file__).resolve().parents[3] / "docs"
DAY_MS = 86_400_000
NOW_MS = parse_time("2026-10-10", 0)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def store_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two weeks of sessions: eight of codex with 1000 tokens and more, eight of claude_code with half of that."""
    monkeypatch.setattr(commands, "read_clock", lambda: NOW_MS)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "kaizen.db"
    monkeypatch.setenv("KAIZEN_STORE", str(path))
    rows = [(f"{agent}-{i}", agent, share, i) for agent, share in (("codex", 1), ("claude", 2)) for i in range(8)]
    starts = [NOW_MS - 10 * DAY_MS + i * 3_600_000 for _, _, _, i in rows]
    sessions = pl.DataFrame(
        {
            "id": [name for name, *_ in rows],
            "agent": [agent for _, agent, *_ in rows],
            "workspace": "/w",
            "started_at_ms": starts,
            "ended_at_ms": [start + 60_000 for start in starts],
            "status": "Done",
            "trace_path": "",
            "repo_binding_source": "",
        }
    )
    events = pl.DataFrame(
        {
            "session_id": [name for name, *_ in rows],
            "seq": 0,
            "ts_ms": starts,
            "kind": "Message",
            "source": "Tail",
            "payload": '{"role":"assistant"}',
            "ts_exact": 1,
            "tokens_in": [(1000 + i) // share for *_, share, i in rows],
            "cost_usd_e6": [100_000 + i for *_, i in rows],
        }
    )
    with Store.open(path, create=True) as store:
        write_sessions(store, sessions, {"events": events})
    return path


@pytest.fixture
def run(store_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    assert store_path.exists()

    def call(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["kaizen-analytics", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Answer(int(stopped.value.code or 0), printed.out, printed.err)

    return call


NEW = ("exp", "new", "--name", "Plan first", "--metric", "tokens_per_session", "--bind", "manual", "--id", "plan-1")
DRAFT = (*NEW, "--target-pct", "-20", "--all-workspaces", "--cluster", "none")


def test_from_draft_to_archive(run: Callable[..., Answer]) -> None:
    assert run(*DRAFT, "--guardrail", "cost_per_session:increase:5").out.startswith("Created plan-1: Plan first\n")
    started = run("exp", "start", "plan", "--at", "2026-09-30")
    assert started.out.startswith("Started plan-1: sessions from 2026-09-30T00:00:00Z to 2026-10-14T00:00:00Z, fixed")
    assert (
        run("exp", "tag", "plan", "--variant", "control", "--where", "agent=codex").out
        == "Tagged 8 sessions control.\n"
    )
    names = [f"claude-{i}" for i in range(8)]
    assert run("exp", "tag", "plan", *names, "--variant", "treatment", "--json").json()["added"] == 8
    assert len(run("exp", "tags", "plan", "--json").json()) == 16
    live = run("exp", "evaluate", "plan", "--json").json()
    assert (live["experiment_id"], live["state"], live["verdict"]) == ("plan-1", "Running", "met")
    assert live["guardrails"][0]["metric"] == "CostPerSession"
    concluded = run("exp", "conclude", "plan", "--json").json()
    assert concluded["percent"] == live["percent"]
    assert run("exp", "archive", "plan").out == "Archived plan-1: Plan first\n"
    box = run("exp", "evaluate", "plan")
    assert box.out.startswith("┌─ Plan first (plan-1) ─")
    refused = run("exp", "tag", "plan", "x", "--variant", "control")
    assert (refused.code, "frozen" in refused.err) == (1, True)


def test_the_next_step_names_the_store_that_was_named(run: Callable[..., Answer], store_path: Path) -> None:
    assert run(*DRAFT).out.endswith("Next: kaizen-analytics exp start plan-1\n")
    other = [*DRAFT[: DRAFT.index("plan-1")], "plan-2", *DRAFT[DRAFT.index("plan-1") + 1 :]]
    named = run(*other, "--store", str(store_path))
    assert named.out.endswith(f"Next: kaizen-analytics exp start plan-2 --store {store_path}\n")


def test_files_without_a_session_of_the_folder_are_told(run: Callable[..., Answer], tmp_path: Path) -> None:
    transcript = tmp_path / "home" / ".claude" / "projects" / "-elsewhere" / "a.jsonl"
    transcript.parent.mkdir(parents=True)
    line = {"type": "user", "sessionId": "a", "uuid": "u", "cwd": "/elsewhere", "timestamp": "2026-10-01T00:00:00Z"}
    transcript.write_text(json.dumps({**line, "message": {"role": "user", "content": "hi"}}) + "\n", encoding="utf-8")
    words = ("ingest", "--home", str(tmp_path / "home"), "--store", str(tmp_path / "new.db"))
    told = run(*words, "--workspace", str(tmp_path / "here")).out
    assert f"Files read: 1; none holds a session that ran in {tmp_path / 'here'}." in told
    assert "none holds" not in run(*words).out


def test_no_transcript_at_all_is_told(
    run: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    told = run("ingest", "--store", str(tmp_path / "new.db"))
    assert (told.code, "No transcript was found." in told.out, "--home" in told.out) == (0, True, True)


class Closed(io.StringIO):
    """An output whose reader has gone by the time that the last lines are to be written."""

    def flush(self) -> None:
        raise BrokenPipeError

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_reader_that_goes_early_leaves_no_error(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["kaizen-analytics", "exp", "list", "--store", str(store_path)])
    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert isinstance(stopped.value.__context__, BrokenPipeError)


def test_list_and_show(run: Callable[..., Answer]) -> None:
    run(*DRAFT)
    assert [item["id"] for item in run("exp", "list", "--json").json()["experiments"]] == ["plan-1"]
    assert "plan-1" in run("exp", "list").out
    assert run("exp", "list", "--state", "running", "--json").json()["experiments"] == []
    shown = run("exp", "show", "plan", "--json").json()
    assert (shown["plan"]["cluster"], shown["tags"]) == ("none", 0)
    assert "success: tokens per session falls by at least 20 %" in run("exp", "show", "plan").out


def test_untag_needs_a_reason_and_records_it(run: Callable[..., Answer]) -> None:
    run(*DRAFT)
    run("exp", "tag", "plan", "s", "--variant", "control")
    assert run("exp", "untag", "plan", "s").code == 2
    assert run("exp", "untag", "plan", "s", "--reason", "wrong session").out == "Removed the tag of s.\n"
    assert run("exp", "tags", "plan", "--json").json() == {}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((*NEW, "--target-pct", "20", "--all-workspaces"), 2, "--target-pct +20 asks for an increase"),
        ((*NEW, "--target-pct", "-20", "--direction", "increase", "--all-workspaces"), 2, "--direction says increase"),
        ((*NEW, "--all-workspaces"), 2, "either --target-pct or --absolute"),
        ((*NEW, "--target-pct", "-20"), 2, "--workspace PATH, or give --all-workspaces"),
        ((*DRAFT, "--workspace", "/w"), 2, "contradict each other"),
        ((*DRAFT, "--design", "often"), 2, "--design is 'often'; expected one of fixed, planned, open"),
        ((*DRAFT, "--alpha", "1"), 1, "alpha is 1.0"),
        (("exp", "tag", "x", "--variant", "control"), 2, "Name sessions, or choose them"),
        (("exp", "tag", "x", "s", "--variant", "left"), 2, "--variant is 'Left'"),
        (("exp", "tag", "x", "--variant", "control", "--where", "agent"), 2, "expected KEY=VALUE"),
        (("exp", "evaluate", "nothing"), 1, "experiment not found: nothing"),
        (("metrics", "--since", "yesterday"), 2, "'yesterday' is not a time"),
        (("metrics", "--out", "x.xlsx"), 2, "'.xlsx'; expected one of"),
    ],
)
def test_what_is_refused(run: Callable[..., Answer], words: tuple[str, ...], code: int, message: str) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_errors_are_json_on_request(run: Callable[..., Answer]) -> None:
    answer = run("exp", "evaluate", "nothing", "--json")
    assert json.loads(answer.err)["exit_code"] == answer.code == 1


def test_a_metric_that_kaizen_lacks_is_said(run: Callable[..., Answer]) -> None:
    words = ["total_tokens_per_session" if word == "tokens_per_session" else word for word in DRAFT]
    assert "will not see this experiment" in run(*words).out


def test_the_repository_around_is_the_default_scope(run: Callable[..., Answer], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    plan = run(*NEW, "--target-pct", "-20", "--json").json()["plan"]
    assert (plan["workspaces"], plan["repository"], plan["cluster"]) == ([str(tmp_path)], str(tmp_path), "none")
    everywhere = run(*NEW[:-1], "all", "--target-pct", "-20", "--all-workspaces", "--json").json()["plan"]
    assert (everywhere["workspaces"], everywhere["cluster"]) == ([], "workspace")


def test_power_answers_from_the_history(run: Callable[..., Answer]) -> None:
    words = ("exp", "power", "--metric", "tokens_per_session", "--all-workspaces")
    table = run(*words, "--json").json()
    assert (table["sessions"], len(table["rows"])) == (16, 4)
    assert "sessions per arm" in run(*words).out


def test_metrics_count_filter_and_write(run: Callable[..., Answer], tmp_path: Path) -> None:
    assert run("metrics").out.startswith("16 sessions\n")
    rows = run("metrics", "--agent", "codex", "--workspace", "/w", "--until", "2026-09-30T01:00Z", "--json").json()
    assert [(row["session_id"], row["tokens_per_session"]) for row in rows["sessions"]] == [("codex-0", 1000.0)]
    assert (
        run("metrics", "--since", "2026-09-30T07:00Z", "--apart", "--out", "o.csv").out == "Wrote 2 sessions to o.csv\n"
    )
    assert pl.read_csv(tmp_path / "o.csv")["session_id"].to_list() == ["claude-7", "codex-7"]


def test_doctor_exits_with_1_when_numbers_may_be_wrong(run: Callable[..., Answer], store_path: Path) -> None:
    assert run("doctor").code == 0
    with Store.open(store_path) as store, store.write():
        store.native("insert into experiment_tags values ('lost', 's', 'Control') returning 1")
    answer = run("doctor")
    assert answer.code == 1
    assert "ERROR tags_without_experiment: 1 rows contradict 'every tag belongs to a known experiment'." in answer.out
    assert run("doctor", "--json").json()["passed"] is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-02", DAY_MS),
        ("1970-01-01T01:00", 3_600_000),
        ("1970-01-01T01:00+01:00", 0),
        ("1970-01-01T00:00:01.5Z", 1500),
        ("7d", NOW_MS - 7 * DAY_MS),
        ("12h", NOW_MS - DAY_MS // 2),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text, NOW_MS) == expected


def test_what_is_no_time_is_quoted() -> None:
    with pytest.raises(ConfigError, match="'7 moons' is not a time"):
        parse_time("7 moons", NOW_MS)


def test_report_hands_the_full_id_to_the_conclusion_report(
    run: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = {}
    monkeypatch.setattr("kaizen_analytics.cli.reports.run", lambda name, **options: called.update(options, name=name))
    run(*DRAFT)
    assert run("exp", "report", "plan", "--out", "o", "--format", "md").code == 0
    assert (called["name"], called["parameter"]) == ("experiment_conclusion", ["experiment_id=plan-1"])
    assert (called["out"], called["formats"]) == (Path("o"), "md")


def test_the_pages_name_only_options_that_exist_and_every_command() -> None:
    group = get_command(app)
    assert isinstance(group, Group)
    leaves = [
        leaf for command in group.commands.values() for leaf in getattr(command, "commands", {"": command}).values()
    ]
    options = {name for leaf in leaves for parameter in leaf.params for name in parameter.opts}
    pages = "".join((DOCS / name).read_text(encoding="utf-8") for name in ("experiments.md", "metrics.md"))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", pages)) <= options
    assert {name for name in group.commands["exp"].commands if f"exp {name}" not in pages} == set()
