"""The hook: what it draws, records and answers, alone, at once with others, and when everything is broken."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kaizen_analytics import hook
from kaizen_analytics.agent_settings import hook_command
from kaizen_analytics.store import Store

SEED = "04" * 16
HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_800_057_600_000
"""2027-01-16, 00:00 UTC."""


def publish(home: Path, experiment: str = "e1", **changes: object) -> Path:
    """Publish an experiment as `exp start` does and return its spool."""
    document = {
        "experiment": experiment,
        "seed": SEED,
        "unit": "session",
        "control_share": 0.5,
        "window_start_ms": 0,
        "window_end_ms": 2**53,
        "workspaces": [],
        "spool": str(home / "kaizen.exposures.jsonl"),
        "needs_launch": False,
        "arms": {"Control": {"text": None}, "Treatment": {"text": f"Be brief ({experiment})."}},
        **changes,
    }
    (home / "assignments").mkdir(exist_ok=True)
    (home / "assignments" / f"{experiment}.json").write_text(json.dumps(document))
    return Path(document["spool"])


def ask(home: Path, session: str = "s1", *, environment: dict[str, str] | None = None, **changes: object) -> list[str]:
    """Return the texts that a session is answered."""
    options = {"parts": 1, "now_ms": MIDNIGHT_MS, **{k: changes.pop(k) for k in ("parts", "now_ms") if k in changes}}
    request = {"session_id": session, "cwd": "/repo", "hook_event_name": "SessionStart", **changes}
    return hook._answer(request, environment=environment or {}, folder=home / "assignments", **options)


def records(spool: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in spool.read_text().split("\n") if line]


def of_arm(arm: str, experiment: str = "e1", start: int = 0) -> str:
    """Return the id of a session that is drawn into an arm."""
    return next(f"s{i}" for i in range(start, 1000) if hook.draw(SEED, experiment, f"s{i}", 0.5) == arm)


def test_the_draw_is_uniform_over_many_units():
    drawn = [hook.draw(SEED, "e1", str(unit), 0.3) for unit in range(100_000)]
    control = drawn.count("Control")

    assert stats.chisquare([control, 100_000 - control], [30_000, 70_000]).pvalue > 0.001
    tenths = [drawn[start : start + 10_000].count("Control") for start in range(0, 100_000, 10_000)]
    assert stats.chisquare(tenths, [control / 10] * 10).pvalue > 0.001


@pytest.mark.parametrize("other", [(SEED, "e2"), ("77" * 16, "e1")], ids=["experiment", "seed"])
def test_two_experiments_draw_independently(other: tuple[str, str]):
    pairs = [(hook.draw(SEED, "e1", str(u), 0.5), hook.draw(*other, str(u), 0.5)) for u in range(20_000)]
    table = [[pairs.count((a, b)) for b in ("Control", "Treatment")] for a in ("Control", "Treatment")]

    assert stats.chi2_contingency(table).pvalue > 0.001


def test_all_sessions_are_in_one_arm_where_it_has_nearly_the_whole_share():
    assert {hook.draw(SEED, "e1", str(unit), 1 - 1e-12) for unit in range(1000)} == {"Control"}
    assert {hook.draw(SEED, "e1", str(unit), 1e-12) for unit in range(1000)} == {"Treatment"}


@given(st.binary(min_size=16, max_size=16), st.text(max_size=20), st.text(max_size=20), st.floats(0, 1))
def test_anyone_can_draw_again_with_the_script_in_the_documentation(
    seed: bytes, experiment: str, unit: str, share: float
):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "randomised.md").read_text(encoding="utf-8")
    script = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, object] = {}
    exec(script, names)

    assert len([line for line in script.splitlines() if line.strip()]) <= 10
    assert names["draw"](seed.hex(), experiment, unit, share) == hook.draw(seed.hex(), experiment, unit, share)


@given(st.text(max_size=90), st.integers(2, 30))
def test_parts_are_the_text_and_none_is_too_long(text: str, size: int):
    parts = hook.split_text(text, size)

    assert "".join(parts) == text
    assert all(0 < len(part.encode("utf-16-le", "surrogatepass")) <= 2 * size for part in parts)
    assert hook.split_text(text, None) == ([text] if text else [])


def test_a_session_gets_its_arm_s_text_and_one_line_in_the_spool(tmp_path: Path):
    spool = publish(tmp_path)
    treated, control = of_arm("Treatment"), of_arm("Control")

    assert ask(tmp_path, treated) == ["Be brief (e1)."]
    assert ask(tmp_path, control) == []
    assert [(r["session"], r["unit"], r["arm"]) for r in records(spool)] == [
        (treated, treated, "Treatment"),
        (control, control, "Control"),
    ]


@pytest.mark.parametrize("source", ["resume", "clear", "compact", "startup"])
def test_a_known_session_keeps_its_arm_and_gets_the_same_text(tmp_path: Path, source: str):
    spool = publish(tmp_path, unit="day")
    before = MIDNIGHT_MS - 1
    arms = {day: hook.draw(SEED, "e1", day, 0.5) for day in ("2027-01-15", "2027-01-16")}
    assert arms == {"2027-01-15": "Treatment", "2027-01-16": "Control"}

    assert ask(tmp_path, now_ms=before) == ["Be brief (e1)."]
    assert ask(tmp_path, now_ms=MIDNIGHT_MS + HOUR_MS, source=source) == ["Be brief (e1)."]
    assert ask(tmp_path, "s2", now_ms=MIDNIGHT_MS + HOUR_MS) == []
    assert [(r["session"], r["unit"]) for r in records(spool)] == [("s1", "2027-01-15"), ("s2", "2027-01-16")]


@pytest.mark.parametrize("source", ["resume", "compact", "fork", "something new"])
def test_a_session_whose_first_start_nobody_saw_takes_no_part(tmp_path: Path, source: str):
    spool = publish(tmp_path)
    session = of_arm("Treatment")

    assert ask(tmp_path, session, source=source) == []
    assert ask(tmp_path, session, source="startup") == []
    assert [(r["arm"], r["reason"]) for r in records(spool)] == [(None, "first_start_unseen")]


def test_a_cleared_session_of_the_same_process_keeps_unit_and_arm(tmp_path: Path):
    spool = publish(tmp_path)
    treated, control = of_arm("Treatment"), of_arm("Control")
    ask(tmp_path, treated, environment={"CLAUDE_PID": "77"})

    assert ask(tmp_path, control, source="clear", environment={"CLAUDE_PID": "77"}) == ["Be brief (e1)."]
    assert [(r["unit"], r["arm"]) for r in records(spool)] == [(treated, "Treatment")] * 2
    other = of_arm("Control", start=500)
    assert ask(tmp_path, other, source="clear", environment={"CLAUDE_PID": "78"}) == []
    assert records(spool)[-1]["unit"] == other


def test_a_sub_agent_gets_the_text_of_its_root_and_no_line_of_its_own(tmp_path: Path):
    spool = publish(tmp_path)
    treated = of_arm("Treatment")

    assert ask(tmp_path, treated, hook_event_name="SubagentStart") == []
    assert not spool.exists()
    ask(tmp_path, treated)
    assert ask(tmp_path, treated, hook_event_name="SubagentStart") == ["Be brief (e1)."]
    assert len(records(spool)) == 1


def test_two_experiments_at_once_both_draw_and_both_texts_arrive(tmp_path: Path):
    spool = publish(tmp_path)
    publish(tmp_path, "e2")
    session = next(s for s in map("s{}".format, range(99)) if hook.draw(SEED, "e2", s, 0.5) == "Treatment")
    texts = ask(tmp_path, session, parts=2)

    assert "Be brief (e2)." in texts
    assert [r["experiment"] for r in records(spool)] == ["e1", "e2"]
    assert [r["arm"] for r in records(spool)] == [hook.draw(SEED, e, session, 0.5) for e in ("e1", "e2")]


@pytest.mark.parametrize(
    ("workspaces", "cwd", "takes_part"),
    [
        ([], "/anywhere", True),
        (["/repo"], "/repo", True),
        (["/repo"], "/repo/api", True),
        (["/repo"], "/repository", False),
        (["/other", "/repo/"], "/repo/api", True),
        (["/repo/api"], "/repo", False),
    ],
)
def test_only_sessions_in_the_workspaces_take_part(
    tmp_path: Path, workspaces: list[str], cwd: str, *, takes_part: bool
):
    spool = publish(tmp_path, workspaces=workspaces)
    ask(tmp_path, cwd=cwd)

    assert spool.exists() is takes_part


def test_sessions_outside_the_window_are_not_drawn_and_known_ones_keep_their_text(tmp_path: Path):
    spool = publish(tmp_path, window_start_ms=MIDNIGHT_MS, window_end_ms=MIDNIGHT_MS + HOUR_MS)
    treated = of_arm("Treatment")
    ask(tmp_path, treated)

    assert ask(tmp_path, treated, now_ms=MIDNIGHT_MS + 2 * HOUR_MS, source="resume") == ["Be brief (e1)."]
    ask(tmp_path, "early", now_ms=MIDNIGHT_MS - 1)
    ask(tmp_path, "late", now_ms=MIDNIGHT_MS + 2 * HOUR_MS)
    assert [r["session"] for r in records(spool)] == [treated]


@pytest.mark.parametrize("arm", ["Control", "Treatment"])
def test_a_text_that_the_settings_cannot_carry_leaves_the_session_out_of_either_arm(tmp_path: Path, arm: str):
    spool = publish(tmp_path, arms={"Control": {"text": "short"}, "Treatment": {"text": "x" * 20_000}})

    assert ask(tmp_path, of_arm(arm), parts=2) == []
    assert [(r["arm"], r["reason"]) for r in records(spool)] == [(None, "text_too_long")]


def test_a_long_text_comes_in_parts_for_one_agent_and_whole_for_another(tmp_path: Path):
    text = "".join(f"Rule {i}: say it in one sentence.\n" for i in range(1000))
    publish(tmp_path, arms={"Control": {}, "Treatment": {"text": text}})
    treated = of_arm("Treatment")
    parts = ask(tmp_path, treated, parts=9)

    assert "".join(parts) == text
    assert all(len(part) <= hook._PART_SIZE and part.endswith("\n") for part in parts)
    assert ask(tmp_path, treated, parts=None) == [text]


def test_a_launched_session_belongs_to_the_unit_of_its_launch(tmp_path: Path):
    spool = publish(tmp_path, needs_launch=True)
    unit = of_arm("Treatment")
    launched = {"KAIZEN_EXPERIMENT": "e1", "KAIZEN_UNIT": unit, "KAIZEN_ARM": "Treatment"}

    assert ask(tmp_path, "a", environment=launched) == ["Be brief (e1)."]
    assert ask(tmp_path, "b", environment={**launched, "KAIZEN_ARM": "Control"}) == []
    assert ask(tmp_path, "c") == []
    assert ask(tmp_path, "d", environment={**launched, "KAIZEN_EXPERIMENT": "other"}) == []
    assert [(r["session"], r["unit"], r["arm"], r["reason"]) for r in records(spool)] == [
        ("a", unit, "Treatment", None),
        ("b", unit, None, "launched_otherwise"),
        ("c", None, None, "not_launched"),
        ("d", None, None, "not_launched"),
    ]


def test_units_are_days_branches_and_users(tmp_path: Path):
    repo, worktree = tmp_path / "repo", tmp_path / "worktree"
    subprocess.run(["git", "init", "-q", "-b", "feature/short", repo], check=True)
    (repo / "api").mkdir()
    user = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", "-C", repo, *user, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    subprocess.run(["git", "-C", repo, "worktree", "add", "-q", "-b", "other", worktree], check=True)

    def unit(kind: str, cwd: Path, **environment: str) -> str | None:
        return hook.find_unit(kind, "s1", str(cwd), environment, MIDNIGHT_MS - 1)

    assert unit("session", repo) == "s1"
    assert unit("day", repo) == "2027-01-15"
    assert unit("branch", repo / "api") == "feature/short"
    assert unit("branch", worktree) == "other"
    assert unit("branch", tmp_path) is None
    assert unit("user", repo, LOGNAME="ada") == "ada"
    assert unit("user", repo, USERNAME="ada") == "ada"
    subprocess.run(["git", "-C", repo, "checkout", "-q", "--detach"], check=True)
    assert unit("branch", repo) is None


def test_a_session_on_no_branch_takes_no_part(tmp_path: Path):
    spool = publish(tmp_path, unit="branch")
    ask(tmp_path, cwd=str(tmp_path))

    assert [(r["arm"], r["reason"]) for r in records(spool)] == [(None, "no_unit")]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=12))
def test_a_line_that_was_cut_off_hides_no_other(cuts: list[tuple[int, int]]):
    whole = [b'\n{"experiment": "e1", "session": "s%d", "arm": null, "at_ms": 0}\n' % number for number, _ in cuts]
    spool = b"".join(line[:cut] + line for line, (_, cut) in zip(whole, cuts, strict=True))

    for number in {number for number, _ in cuts}:
        assert hook.find_record(spool, "e1", "session", f"s{number}") is not None
    assert hook.find_record(spool, "e1", "session", "s9") is None
    assert hook.find_record(spool, "e2", "session", "s1") is None


def test_parts_of_one_session_that_race_at_midnight_agree(tmp_path: Path):
    publish(tmp_path, unit="day")
    for i in range(25):
        with ThreadPoolExecutor(8) as pool:
            moments = [MIDNIGHT_MS - 1 + (part % 2) for part in range(8)]
            answers = list(pool.map(lambda at_ms, i=i: ask(tmp_path, f"s{i}", now_ms=at_ms), moments))
        assert len({tuple(texts) for texts in answers}) == 1


# The process.


RUN_HOOK = "from kaizen_analytics.__main__ import main; main()"


def call(
    home: Path, given: str, *options: str, before: Sequence[str] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [*before, *hook_command(is_project=False, home=None), *options]
    env = {"KAIZEN_HOME": str(home), "PATH": os.environ["PATH"], "HOME": str(home), **environment}
    return subprocess.run(command, input=given, env=env, capture_output=True, text=True, check=False, timeout=20)


def request(session: str, **changes: object) -> str:
    return json.dumps({"session_id": session, "cwd": "/repo", "hook_event_name": "SessionStart", **changes})


@pytest.mark.parametrize("agent", ["claude_code", "codex"])
def test_the_process_answers_in_the_agent_s_format(tmp_path: Path, agent: str):
    publish(tmp_path, arms={"Control": {}, "Treatment": {"text": "Seid kürzer 🙂"}})
    run = call(tmp_path, request(of_arm("Treatment")), "--agent", agent, "--part", "1/2")

    answer = {"hookEventName": "SessionStart", "additionalContext": "Seid kürzer 🙂"}
    assert json.loads(run.stdout) == {"hookSpecificOutput": answer}
    assert (run.returncode, run.stderr) == (0, "")
    assert call(tmp_path, request(of_arm("Control")), "--agent", agent).stdout == ""


def test_codex_is_not_told_again_what_its_history_holds(tmp_path: Path):
    publish(tmp_path)
    treated = of_arm("Treatment")
    told = {
        (agent, source): call(tmp_path, request(treated, source=source), "--agent", agent).stdout != ""
        for source in ("startup", "resume", "compact")
        for agent in ("codex", "claude_code")
    }

    assert [key for key, is_told in told.items() if not is_told] == [("codex", "resume")]


def ask_cursor(home: Path, session: str, event: str) -> dict[str, object]:
    given = {
        "conversation_id": session,
        "workspace_roots": ["/repo"],
        "hook_event_name": event,
        "cursor_version": "2.5",
    }
    return json.loads(call(home, json.dumps(given), "--agent", "cursor").stdout or "{}")


def test_cursor_keeps_its_arm_at_every_prompt_and_gets_the_text_at_the_start_only(tmp_path: Path):
    spool = publish(tmp_path, workspaces=["/repo"])
    treated = of_arm("Treatment")

    assert ask_cursor(tmp_path, treated, "sessionStart") == {"additional_context": "Be brief (e1)."}
    assert [ask_cursor(tmp_path, treated, "beforeSubmitPrompt") for _ in range(2)] == [{"continue": True}] * 2
    assert [record["arm"] for record in records(spool)] == ["Treatment"]


def test_a_cursor_that_does_not_call_at_the_start_is_counted_and_takes_no_part(tmp_path: Path):
    spool = publish(tmp_path)
    treated = of_arm("Treatment")

    assert ask_cursor(tmp_path, treated, "beforeSubmitPrompt") == {"continue": True}
    assert ask_cursor(tmp_path, treated, "sessionStart") == {}, "too late: the first prompt was without the text"
    assert [(record["arm"], record["reason"]) for record in records(spool)] == [(None, "first_start_unseen")]


def test_cursor_is_not_drawn_by_the_hook_of_claude_code_that_it_runs_too(tmp_path: Path):
    spool = publish(tmp_path)
    given = request(of_arm("Treatment"), cursor_version="2.5", conversation_id=of_arm("Treatment"))
    run = call(tmp_path, given, "--agent", "claude_code", "--part", "1/1")

    assert (run.returncode, run.stdout, run.stderr, spool.exists()) == (0, "", "", False)


@pytest.mark.parametrize("event", ["SessionStart", "SubagentStart"])
def test_a_session_with_two_doors_is_drawn_once_and_told_once(tmp_path: Path, event: str):
    spool = publish(tmp_path)
    treated = of_arm("Treatment")
    doors = [(), ("--door", "plugin")]
    first = [call(tmp_path, request(treated), "--part", "1/1", *door).stdout for door in doors]
    again = [
        call(tmp_path, request(treated, hook_event_name=event), "--part", "1/1", *door).stdout for door in doors[::-1]
    ]

    assert [bool(text) for text in first] == [True, False]
    assert [bool(text) for text in again] == [False, True]
    assert len(records(spool)) == 1


def test_doors_that_race_tell_the_text_once(tmp_path: Path):
    publish(tmp_path)
    for start in range(0, 250, 10):
        treated = of_arm("Treatment", start=start)
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(lambda door, s=treated: ask(tmp_path, s, door=door), [None, "plugin"]))
        assert sorted(map(len, told)) == [0, 1]


def test_each_hook_answers_its_part_and_names_it(tmp_path: Path):
    text = "x" * 10_000 + "y" * 5_000
    publish(tmp_path, arms={"Control": {}, "Treatment": {"text": text}})
    treated = request(of_arm("Treatment"))
    runs = [call(tmp_path, treated, "--agent", "claude_code", "--part", f"{k}/3") for k in (1, 2, 3)]
    texts = [json.loads(r.stdout)["hookSpecificOutput"]["additionalContext"] for r in runs if r.stdout]

    assert [part.partition("\n")[0] for part in texts] == ["Part 1 of 2:", "Part 2 of 2:"]
    assert "".join(part.partition("\n")[2] for part in texts) == text


def break_spool_folder(home: Path) -> str:
    publish(home, spool=str(home / "nowhere" / "spool"))
    return request("s1")


def break_registry(home: Path) -> str:
    publish(home)
    (home / "assignments" / "e0.json").write_text('{"experiment": ')
    return request("s1")


def break_fields(home: Path) -> str:
    publish(home, arms=None)
    return request("s1")


def endless_spool(home: Path) -> str:
    publish(home, spool="/dev/zero")
    return request("s1")


BROKEN = {
    "no folder": lambda _: request("s1"),
    "no json": lambda home: publish(home) and "{",
    "nothing": lambda home: publish(home) and "",
    "a list": lambda home: publish(home) and "[]",
    "no session": lambda home: publish(home) and "{}",
    "spool folder is gone": break_spool_folder,
    "registry is cut off": break_registry,
    "registry has other fields": break_fields,
    "spool never ends": endless_spool,
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_whatever_is_broken_the_agent_sees_success_and_no_text(tmp_path: Path, damage):
    run = call(tmp_path, damage(tmp_path))

    assert (run.returncode, run.stdout) == (0, "")
    assert run.stderr.count("\n") <= 1
    assert run.stderr or damage in (BROKEN["no folder"], BROKEN["spool never ends"])


def test_a_session_whose_line_was_cut_off_is_drawn_again(tmp_path: Path):
    treated = of_arm("Treatment")
    spool = publish(tmp_path)
    spool.write_text(f'\n{{"experiment": "e1", "session": "{treated}", "arm": "Contr')
    run = call(tmp_path, request(treated), "--part", "1/1")

    assert (run.stderr, "Be brief" in run.stdout) == ("", True)


@pytest.mark.parametrize(("damage", "said"), [("read-only", "Read-only file system"), ("full", "No space left")])
def test_a_disk_that_takes_nothing_leaves_the_session_out(tmp_path: Path, damage_disk, damage: str, said: str):
    folder = tmp_path / "store"
    folder.mkdir()
    spool = publish(tmp_path, spool=str(folder / "kaizen.exposures.jsonl"))
    treated = request(of_arm("Treatment"))
    run = call(tmp_path, treated, before=damage_disk(damage, folder))

    assert (run.returncode, run.stdout) == (0, "")
    assert said in run.stderr
    assert not spool.exists()
    assert call(tmp_path, treated).stdout != ""


def forget_store(path: Path) -> None:
    path.unlink()


def make_newer(path: Path) -> None:
    with Store.open(path) as store:
        store.native("insert into ka_migrations values (999, 0) returning 1")


@contextlib.contextmanager
def locked(path: Path):
    """Hold the store's lock, as a command that writes does."""
    with Store.open(path) as store, store.write():
        yield


@pytest.mark.parametrize("damage", [forget_store, make_newer, locked])
def test_the_hook_works_whatever_becomes_of_the_store(tmp_path: Path, damage):
    Store.open(tmp_path / "kaizen.db", create=True).close()
    spool = publish(tmp_path)
    treated = of_arm("Treatment")
    with damage(tmp_path / "kaizen.db") or contextlib.nullcontext():
        run = call(tmp_path, request(treated))

    assert (run.returncode, run.stderr) == (0, "")
    assert "Be brief" in run.stdout
    assert [record["session"] for record in records(spool)] == [treated]


def test_a_full_disk_leaves_the_session_out_and_the_next_line_stands_alone(tmp_path: Path):
    spool, full = publish(tmp_path), f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30, 30)); {RUN_HOOK}"
    treated = request(of_arm("Treatment"))
    command = [sys.executable, "-B", "-c", full, "hook"]  # or it would cut the bytecode of modules that others import
    environment = {**os.environ, "KAIZEN_HOME": str(tmp_path)}
    run = subprocess.run(command, input=treated, env=environment, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (0, "")
    assert "takes no part" in run.stderr
    assert len(spool.read_bytes()) == 30
    assert call(tmp_path, treated).stdout != ""
    assert hook.find_record(spool.read_bytes(), "e1", "session", of_arm("Treatment")) is not None


def test_a_hook_that_waits_for_its_input_ends_by_itself(tmp_path: Path):
    publish(tmp_path)
    command = [sys.executable, "-m", "kaizen_analytics", "hook"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ}) as process:
        assert process.wait(timeout=20) == 0  # its input stays open


def test_the_hook_imports_nothing_that_takes_time():
    folder = str(Path(hook.__file__).parents[1])
    script = f"import sys; sys.path.append({folder!r}); import kaizen_analytics.__main__; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    names = set(run.stdout.split())

    ours = {"kaizen_analytics", "kaizen_analytics.hook", "kaizen_analytics.__main__"}
    assert {name for name in names if name.split(".")[0] not in sys.stdlib_module_names} == {*ours, "__main__"}
    assert not names & {"json", "re", "typing", "pathlib", "hashlib", "threading", "enum", "contextlib", "collections"}


def test_an_interpreter_without_the_private_modules_answers_the_same(tmp_path: Path):
    publish(tmp_path)
    treated = request(of_arm("Treatment"))
    script = f"import sys; sys.modules['_json'] = None; {RUN_HOOK}"
    environment = {**os.environ, "KAIZEN_HOME": str(tmp_path)}
    without = subprocess.run(
        [sys.executable, "-c", script, "hook"],
        input=treated,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert without.stdout == call(tmp_path, treated).stdout != ""


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.sampled_from([None, 2]), st.sampled_from(["", "\ufeff"]))
def test_json_is_read_as_json_reads_it(value: object, indent: int | None, mark: str):
    text = f"{mark}{json.dumps(value, indent=indent, ensure_ascii=not indent)}\n".encode("utf-8", "replace")

    assert repr(hook._load(text)) == repr(json.loads(text))


@given(st.text(alphabet='{}[]":,0 1aenult\n\\') | st.text())
def test_what_json_refuses_is_refused(text: str):
    def read(load) -> str:
        try:
            return repr(load(text.encode("utf-8", "surrogatepass")))
        except ValueError:
            return "refused"

    assert read(hook._load) == read(json.loads)


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text()))
def test_a_line_is_the_json_that_json_writes(record: dict[str, str | int | None]):
    assert hook._render_flat(record) == json.dumps(record)
