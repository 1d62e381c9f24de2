"""The commands `exp …`, `metrics` and `doctor`, from words to exit codes."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from experiment_cases import DAY_MS, commit, make_repository
from rows import write_rows

from kaizen_analytics.cli import experiments as commands
from kaizen_analytics.cli import main
from kaizen_analytics.cli.output import is_quiet
from kaizen_analytics.cli.reports import ReportOptions
from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.times import parse_time
from kaizen_analytics.experiments import power
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import add_feedback

DOCS = Path(__file__).resolve().parents[3] / "docs"
NOW_MS = parse_time("2026-10-10", 0)


@pytest.fixture(scope="module")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of sessions: eight of codex with 1000 tokens and more, eight of claude_code with half of that."""
    sessions, events = [], []
    for agent, share in (("codex", 1), ("claude", 2)):
        for i in range(8):
            name, start = f"{agent}-{i}", NOW_MS - 10 * DAY_MS + i * 3_600_000
            sessions.append({"id": name, "agent": agent, "started_at_ms": start, "ended_at_ms": start + 60_000})
            used = {"tokens_in": (1000 + i) // share, "cost_usd_e6": 100_000 + i}
            events.append({"session_id": name, "ts_ms": start, **used})
    path = tmp_path_factory.mktemp("filled") / "kaizen.db"
    with Store.open(path, create=True, journal_mode="DELETE") as store:
        write_rows(store, sessions, events)
    return path


@pytest.fixture
def store_path(_filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(commands, "read_clock", lambda: NOW_MS)
    monkeypatch.chdir(tmp_path)
    path = Path(shutil.copy(_filled, tmp_path / "kaizen.db"))
    monkeypatch.setenv("KAIZEN_STORE", str(path))
    return path


@pytest.fixture
def run(store_path: Path, program: Callable[..., Any]) -> Callable[..., Any]:
    assert store_path.exists()
    return program


NEW = ("exp", "new", "--name", "Plan first", "--metric", "tokens_per_session", "--bind", "manual", "--id", "plan-1")
DRAFT = (*NEW, "--target-pct", "-20", "--all-workspaces", "--cluster", "none")


@pytest.mark.slow
def test_from_draft_to_archive(run: Callable[..., Any]) -> None:
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
    refused = run("exp", "tag", "plan", "codex-1", "--variant", "control")
    assert (refused.code, "frozen" in refused.err) == (1, True)


def test_the_next_step_names_the_store_that_was_named(run: Callable[..., Any], store_path: Path) -> None:
    assert run(*DRAFT).out.endswith("Next: kaizen-analytics exp start plan-1\n")
    other = [*DRAFT[: DRAFT.index("plan-1")], "plan-2", *DRAFT[DRAFT.index("plan-1") + 1 :]]
    named = run(*other, "--store", str(store_path))
    assert named.out.endswith(f"Next: kaizen-analytics exp start plan-2 --store {store_path}\n")


def test_files_without_a_session_of_the_folder_are_told(run: Callable[..., Any], tmp_path: Path) -> None:
    transcript = tmp_path / "home" / ".claude" / "projects" / "-elsewhere" / "a.jsonl"
    transcript.parent.mkdir(parents=True)
    line = {"type": "user", "sessionId": "a", "uuid": "u", "cwd": "/elsewhere", "timestamp": "2026-10-01T00:00:00Z"}
    transcript.write_text(json.dumps({**line, "message": {"role": "user", "content": "hi"}}) + "\n", encoding="utf-8")
    words = ("ingest", "--home", str(tmp_path / "home"), "--store", str(tmp_path / "new.db"))
    told = run(*words, "--workspace", str(tmp_path / "here")).out
    assert f"Files found: 1; none holds a session that ran in {tmp_path / 'here'}." in told
    assert "none holds" not in run(*words).out


def test_quiet_leaves_out_advice_and_keeps_results(run: Callable[..., Any]) -> None:
    assert run("--quiet", *DRAFT).out == "Created plan-1: Plan first\n"
    assert "outcomes" not in run("--quiet", "metrics").out
    assert "Tokens per session" in run("metrics", "--quiet").out
    assert "outcomes" not in run("metrics", "--quiet").out
    assert run("--quiet", "exp", "show", "nobody").err.startswith("error: experiment not found")


def test_quiet_of_an_agent_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["kaizen-analytics", "run", "e1", "--", "claude", "--quiet"])
    assert not is_quiet()
    monkeypatch.setattr("sys.argv", ["kaizen-analytics", "run", "--quiet", "e1", "--", "claude"])
    assert is_quiet()


def test_no_transcript_at_all_is_told(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_list_and_show(run: Callable[..., Any]) -> None:
    assert "No experiment is in the store. 'kaizen-analytics exp new --help' shows" in run("exp", "list").out
    run(*DRAFT)
    assert [item["id"] for item in run("exp", "list", "--json").json()["experiments"]] == ["plan-1"]
    assert "plan-1" in run("exp", "list").out
    assert run("exp", "list", "--state", "running", "--json").json()["experiments"] == []
    shown = run("exp", "show", "plan", "--json").json()
    assert (shown["plan"]["cluster"], shown["tags"]) == ("none", 0)
    text = " ".join(run("exp", "show", "plan").out.split())
    assert "Success Tokens per session falls by at least 20 %" in text
    assert "Window 14 days from the start" in text


def test_defaults_of_experiments_come_from_the_repository(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    settings = '[experiments]\nduration_days = 21\nstatistic = "mean"\nguardrails = ["success_rate:decrease:5"]\n'
    (tmp_path / "kaizen.toml").write_text(settings, encoding="utf-8")
    made = run(*DRAFT, "--json").json()
    assert (made["experiment"]["duration_days"], made["plan"]["statistic"]) == (21, "mean")
    assert [guardrail["metric"] for guardrail in made["experiment"]["guardrails"]] == ["SuccessRate"]
    given = run(*DRAFT, "--id", "other", "--duration-days", "7", "--json").json()
    assert given["experiment"]["duration_days"] == 7


def test_untag_needs_a_reason_and_records_it(run: Callable[..., Any]) -> None:
    run(*DRAFT)
    run("exp", "tag", "plan", "s-1", "--variant", "control", "--future")
    assert run("exp", "untag", "plan", "s").code == 2
    assert run("exp", "untag", "plan", "s", "--reason", "wrong session").out == "Removed the tag of s.\n"
    assert run("exp", "tags", "plan", "--json").json() == {}


def test_commits_and_branches_are_checked_at_once_and_an_old_change_is_dated(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    make_repository(tmp_path)
    for _ in range(2):
        commit(tmp_path, "Change", at_s=parse_time("2026-09-28", 0) / 1000)
    git = ("exp", "new", "--name", "n", "--metric", "tokens_per_session", "--target-pct", "-20", "--bind", "git")
    wrong = run(*git, "--control-commit", "nope", "--treatment-commit", "HEAD")
    assert (wrong.code, "'nope' is not a commit" in wrong.err) == (2, True)
    same = run(*git, "--control-commit", "HEAD", "--treatment-commit", "main")
    assert (same.code, "the same commit" in same.err) == (2, True)
    assert run(*git, "--id", "e", "--control-commit", "HEAD~1", "--treatment-commit", "HEAD").code == 0
    assert run("exp", "edit", "e", "--duration-days", "7").out == "Changed e: n\n"
    started = run("exp", "start", "e").out
    assert "sessions from 2026-09-21T00:00:00Z to 2026-10-05T00:00:00Z, fixed design" in started
    assert "the result is exploratory" in started
    assert run("exp", "cancel", "e", "--reason", "wrong commit").out == "Cancelled e: n\n"
    assert "Cancelled   wrong commit" in run("exp", "show", "e").out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((*NEW, "--target-pct", "20", "--all-workspaces"), 2, "--target-pct +20 asks for an increase"),
        ((*NEW, "--target-pct", "-20", "--direction", "increase", "--all-workspaces"), 2, "--direction says increase"),
        ((*NEW, "--all-workspaces"), 2, "either --target-pct or --absolute"),
        ((*NEW, "--target-pct", "-20"), 2, "--workspace PATH, or give --all-workspaces"),
        ((*DRAFT, "--workspace", "/w"), 2, "contradict each other"),
        ((*DRAFT, "--design", "often"), 2, "--design is 'often'; expected one of fixed, planned, open"),
        ((*DRAFT, "--alpha", "1"), 2, "alpha is 1.0"),
        (("exp", "tag", "x", "--variant", "control"), 2, "Name sessions, or choose them"),
        (("exp", "tag", "x", "s", "--variant", "left"), 2, "--variant is 'Left'"),
        (("exp", "tag", "x", "--variant", "control", "--where", "agent"), 2, "expected KEY=VALUE"),
        (("exp", "power", "--metric", "tokens_per_session", "--all-workspaces", "--bind", "manual"), 2, "--bind git"),
        (
            ("exp", "power", "--metric", "tokens_per_session", "--all-workspaces", "--duration-days", "9"),
            2,
            "--bind git",
        ),
        (("exp", "tag", "x", "codex-", "--variant", "control"), 2, "begins 8 session ids"),
        (("exp", "tag", "x", "nobody", "--variant", "control"), 2, "No session is called 'nobody'"),
        (("exp", "tag", "x", "--variant", "control", "--where", "agent=codx"), 2, "Did you mean 'codex'?"),
        (("exp", "evaluate", "nothing"), 2, "experiment not found: nothing"),
        ((*DRAFT, "--id", "a b"), 2, "The id is 'a b'"),
        ((*DRAFT, "--name", ""), 2, "The name is empty"),
        ((*DRAFT, "--duration-days", "0"), 2, "The duration is 0 days"),
        ((*DRAFT, "--target-pct", "-150"), 2, "no metric falls by more than 100 percent"),
        ((*DRAFT, "--guardrail", "tokens_per_session:increase:5"), 2, "is the success metric itself"),
        ((*DRAFT, "--guardrail", "success_rate:decrease:150"), 2, "tolerates any fall"),
        (("exp", "edit", "x", "--planned-n", "0"), 2, "experiment not found: x"),
        (("exp", "edit", "x"), 2, "Nothing to change was given"),
        (("exp", "edit", "x", "--metric", "cost_per_session"), 2, "give --target-pct too"),
        (("metrics", "--since", "yesterday"), 2, "'yesterday' is not a time"),
        (("metrics", "--out", "x.xlsx"), 2, "'.xlsx'; expected one of"),
    ],
)
def test_what_is_refused(run: Callable[..., Any], words: tuple[str, ...], code: int, message: str) -> None:
    answer = run(*words)
    assert (answer.code, answer.out) == (code, "")
    assert message in answer.err
    assert "Traceback" not in answer.err


def test_errors_are_json_on_request(run: Callable[..., Any]) -> None:
    answer = run("exp", "evaluate", "nothing", "--json")
    assert json.loads(answer.err)["exit_code"] == answer.code == 2


def test_the_repository_around_is_the_default_scope(run: Callable[..., Any], tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    plan = run(*NEW, "--target-pct", "-20", "--json").json()["plan"]
    assert (plan["workspaces"], plan["repository"], plan["cluster"]) == ([str(tmp_path)], str(tmp_path), "none")
    branches = run(*NEW[:-1], "b", "--target-pct", "-20", "--cluster", "branch", "--json").json()["plan"]
    assert branches["cluster"] == "branch"
    everywhere = run(*NEW[:-1], "all", "--target-pct", "-20", "--all-workspaces", "--json").json()["plan"]
    assert (everywhere["workspaces"], everywhere["cluster"]) == ([], "workspace")


def test_power_answers_from_the_history(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("exp", "power", "--metric", "tokens_per_session", "--all-workspaces")
    short = run(*words, "--json")
    assert (short.code, short.out) == (1, "")
    assert "Planning needs at least 20 past sessions with a value, and found 16 in 28 days" in short.err
    for name, value in {"_MIN_HISTORY": 16, "_SIMULATIONS": 10, "_HISTORIES": 2, "_OF_HISTORY": 10}.items():
        monkeypatch.setattr(power, name, value)
    table = run(*words, "--json").json()
    assert (table["sessions"], len(table["rows"])) == (16, 4)
    told = run(*words)
    assert "right in 28 days" in told.out
    assert "simulating a true change of -10 %" in told.err


def test_metrics_count_filter_and_write(run: Callable[..., Any], tmp_path: Path) -> None:
    assert run("metrics").out.startswith("16 sessions\n")
    rows = run("metrics", "--agent", "codex", "--workspace", "/w", "--until", "2026-09-30T01:00Z", "--json").json()
    assert [(row["session_id"], row["tokens_per_session"]) for row in rows["sessions"]] == [("codex-0", 1000.0)]
    assert (
        run("metrics", "--since", "2026-09-30T07:00Z", "--apart", "--out", "o.csv").out == "Wrote 2 sessions to o.csv\n"
    )
    assert pl.read_csv(tmp_path / "o.csv")["session_id"].to_list() == ["claude-7", "codex-7"]


def test_doctor_exits_with_1_when_numbers_may_be_wrong(run: Callable[..., Any], store_path: Path) -> None:
    assert run("doctor").code == 0
    with Store.open(store_path) as store, store.write():
        store.native("insert into experiment_tags values ('lost', 's', 'Control') returning 1")
    answer = run("doctor")
    assert answer.code == 1
    assert "ERROR tags_without_experiment: 1 row against 'every tag belongs to a known experiment'." in answer.out
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


@pytest.mark.slow
def test_report_hands_the_full_id_to_the_conclusion_report(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = {}

    def make(name: str, pairs: list[str], options: ReportOptions) -> int:
        called.update(asdict(options), name=name, pairs=pairs)
        return 0

    monkeypatch.setattr(commands, "make_reports", make)
    run(*DRAFT)
    assert "never started" in run("exp", "report", "plan").err
    run("exp", "start", "plan", "--at", "2026-09-30")
    assert run("exp", "report", "plan", "--out", "o", "--format", "md").code == 0
    assert (called["name"], called["pairs"]) == ("experiment_conclusion", ["experiment_id=plan-1"])
    assert (called["out"], called["formats"]) == (Path("o"), "md")


def test_the_pages_name_only_options_that_exist_and_lead_to_the_commands() -> None:
    reference, *pages = (
        (DOCS / name).read_text(encoding="utf-8")
        for name in ("reference/cli.md", "explanation/experiments.md", "reference/metrics.md")
    )
    options = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
    assert set(options.findall("".join(pages))) <= set(options.findall(reference))
    assert "(../reference/cli.md)" in pages[0], "the page of experiments leads to every command"


def test_an_error_shows_no_terminal_sequence(run: Callable[..., Any]) -> None:
    answer = run("exp", "show", "\x1b[31mnothing\u202e")
    assert answer.code == 2
    assert "nothing\ufffd" in answer.err
    assert not {"\x1b", "\u202e"} & set(answer.err)


def _judge(store: Store) -> None:
    """Give every session a check that passed, and two commits."""
    store.native(
        "insert into ka_outcomes "
        "(session_id, checks, checks_passed, commits, commit_ids, pull_request, computed_at_ms) "
        "select id, 1, 1, 2, '[]', 'u/' || ((rowid - 1) / 2), 0 from sessions returning 1",
    )


def test_default_guardrails_are_named_and_can_be_left_out(run: Callable[..., Any], store_path: Path) -> None:
    with Store.open(store_path) as store:
        _judge(store)
    new = ("exp", "new", "--name", "N", "--metric", "cost_per_commit", "--target-pct", "-10", "--bind", "manual")
    made = run(*new, "--all-workspaces", "--id", "a")
    assert "Guardrail: Last check passed must not fall by more than 5" in made.out
    assert "By default: 2 guardrails; --no-default-guardrails leaves them out." in made.out
    rule = json.loads(run("exp", "show", "a", "--json").out)["experiment"]["guardrails"]
    assert [item["metric"] for item in rule] == ["ChecksPassed", "CommitsPerSession"]
    bare = run(*new, "--all-workspaces", "--id", "b", "--no-default-guardrails", "--json").json()
    assert bare["experiment"]["guardrails"] == []


def test_the_unit_of_work_is_frozen_and_tasks_are_compared(run: Callable[..., Any], store_path: Path) -> None:
    with Store.open(store_path) as store:
        _judge(store)
    new = ("exp", "new", "--name", "N", "--metric", "tokens_per_session", "--target-pct", "-10", "--id", "t")
    assert run(*new, "--bind", "manual", "--all-workspaces", "--cluster", "none", "--unit", "task").code == 0
    assert run("exp", "start", "t", "--at", "2026-09-29").code == 0
    for agent, arm in (("codex", "control"), ("claude", "treatment")):
        run("exp", "tag", "t", "--where", f"agent={agent}", "--variant", arm)
    found = run("exp", "evaluate", "t", "--json").json()
    assert found["plan"]["unit"] == "task"
    assert found["primary"]["label"] == "Tokens per task"
    assert (found["primary"]["effect"]["control"]["n"], found["quality"]["control"]["sessions"]) == (4, 8)
    assert "2 sessions per task in the control arm, 2 in the treatment arm" in run("exp", "evaluate", "t").out
    refused = run(*new, "--bind", "branch", "--control-branch", "a", "--treatment-branch", "b", "--unit", "task",
                  "--all-workspaces")  # fmt: skip
    assert "each arm would be a single task" in refused.err
    assert (
        "expected one of session, task, day" in run(*new, "--bind", "manual", "--all-workspaces", "--unit", "week").err
    )


def test_a_score_is_an_outcome(run: Callable[..., Any], store_path: Path) -> None:
    with Store.open(store_path) as store:
        for number in range(8):
            for session, score in ((f"codex-{number}", 2), (f"claude-{number}", 4 + number % 2)):
                add_feedback(store, session, score=score, label=None, note=None, now_ms=NOW_MS - DAY_MS)
    run("sessions", "annotate", "codex-0", "--score", "3")
    new = ("exp", "new", "--name", "N", "--metric", "session_score", "--target-pct", "10", "--id", "s")
    assert run(*new, "--bind", "manual", "--all-workspaces", "--cluster", "none").code == 0
    run("exp", "start", "s", "--at", "2026-09-29")
    for agent, arm in (("codex", "control"), ("claude", "treatment")):
        run("exp", "tag", "s", "--where", f"agent={agent}", "--variant", arm)
    primary = run("exp", "evaluate", "s", "--json").json()["primary"]
    assert (primary["effect"]["control"]["interval"]["estimate"], primary["effect"]["treatment"]["n"]) == (2.125, 8)
