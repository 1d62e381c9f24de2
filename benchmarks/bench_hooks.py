"""Evidence for the hook: how long it holds up an agent, and what is left of it when it is killed.

python -m benchmarks.bench_hooks            two minutes; rewrites docs/reference/hook-evidence.md
python -m benchmarks.bench_hooks --quick    seconds; prints tables that prove little
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROOT
from benchmarks.tables import Section, render_sections
from kaizen_analytics.agent_settings import hook_command
from kaizen_analytics.core.model import Delta, Direction, Experiment, ManualTag, Metric
from kaizen_analytics.hook import draw
from kaizen_analytics.store import Store, manual_tags, save_experiment
from kaizen_analytics.store.assignments import fold_spool, read_draws, spool_beside

OUTPUT = ROOT / "docs" / "reference" / "hook-evidence.md"
LIMIT_MS, RATIO = 150, 1.5
AT_ONCE = 8
SESSIONS = 100
SEED = "5b" * 16
_EXPERIMENT = "bench"
_EMPTY, _INSTALLED, _BY_NAME = "python -c pass", "the hook, as installed for a user", "the hook, by name in a project"
_FOLD = (
    "import sys; from pathlib import Path; from kaizen_analytics.store import Store;"
    "from kaizen_analytics.store.assignments import fold_spool\n"
    "while True:\n"
    "    with Store.open(Path(sys.argv[1])) as store: fold_spool(store)\n"
)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench_hooks")
    parser.add_argument("--quick", action="store_true", help="few sessions; writes nothing")
    options = parser.parse_args()
    sessions = 5 if options.quick else SESSIONS
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        sections = [describe_latency(Path(folder), sessions), describe_crashes(Path(folder) / "crash", sessions)]
    page = render_page(sections, load)
    if options.quick:
        print(page)
    else:
        OUTPUT.write_text(page, "utf-8")
        print(f"Wrote {OUTPUT}")


def render_page(sections: list[Section], load: float) -> str:
    """Return the whole page."""
    first = " The run had precedence over all other processes (`chrt -r 10`)." if _is_first() else ""
    return f"""# Evidence for the hook

Written by `make bench-hooks`; do not edit. What the hook is for:
[Run a randomised experiment](../how-to/randomised.md). Ratios carry over to other machines, milliseconds do not.

Machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}.
The load was {load:.1f} before the run and {os.getloadavg()[0]:.1f} at its end.{first}

{render_sections(sections)}
"""


def _is_first() -> bool:
    """Return whether this process is scheduled before the ordinary ones; so are those that it starts."""
    return hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR)


def describe_latency(folder: Path, sessions: int) -> Section:
    """Return how long whole processes take, alone and several at once, beside an empty Python."""
    publish(folder, folder / "spool", "x" * 9_500)
    commands = {
        _EMPTY: [sys.executable, "-c", "pass"],
        _INSTALLED: [*hook_command(is_project=False, home=None), "--part", "1/1"],
        _BY_NAME: [sys.executable, "-m", "kaizen_analytics", "hook", "--part", "1/1"],
    }
    alone, crowded = (time_commands(folder, commands, at_once, at_once * sessions) for at_once in (1, AT_ONCE))
    section = Section("How long an agent waits")
    section.add_text(
        f"Whole processes from start to end, each with a session of its own: {sessions} of each command one after the "
        f"other, then {AT_ONCE} at once, {AT_ONCE * sessions} of each, the commands in turns. The text has 9,500 "
        "characters. The ratio is that of the medians to an empty Python in the same run."
    )
    for title, times in (("alone", alone), (f"{AT_ONCE} at once", crowded)):
        rows = [
            [name, *map(format_ms, quantiles(values)), f"{quantiles(values)[0] / quantiles(times[_EMPTY])[0]:.1f}x"]
            for name, values in times.items()
        ]
        section.add_table([title, "p50", "p99", "longest", "ratio"], rows)
        p50, _, longest = quantiles(times[_INSTALLED])
        ratio = p50 / quantiles(times[_EMPTY])[0]
        section.add_target(
            f"the hook, {title}, beside an empty Python", f"at most {RATIO}x", f"{ratio:.1f}x", met=ratio <= RATIO
        )
        section.add_target(
            f"the hook, {title}, longest", f"at most {LIMIT_MS} ms", format_ms(longest), met=longest <= LIMIT_MS
        )
    recorded = len({json.loads(line)["session"] for line in (folder / "spool").read_text().split("\n") if line})
    section.add_text(f"{recorded:,} of {2 * (1 + AT_ONCE) * sessions:,} sessions recorded their draw.")
    return section


def time_commands(folder: Path, commands: dict[str, list[str]], at_once: int, count: int) -> dict[str, list[float]]:
    """Return the milliseconds of each run of each command; one after the other, blocks of `at_once` of one kind."""
    times: dict[str, list[float]] = defaultdict(list)
    with ThreadPoolExecutor(at_once) as pool:
        for block in range(count // at_once):
            for name, command in commands.items():
                sessions = [f"{at_once}-{name}-{block}-{number}" for number in range(at_once)]
                times[name] += pool.map(
                    lambda session, command=command: time_session(folder, command, session), sessions
                )
    return times


def time_session(home: Path, command: list[str], session: str) -> float:
    """Return how many milliseconds one process takes."""
    given = json.dumps({"session_id": session, "cwd": "/", "hook_event_name": "SessionStart"})
    environment = {**os.environ, "KAIZEN_HOME": str(home)}
    started = time.perf_counter()
    subprocess.run(command, input=given, text=True, capture_output=True, check=True, env=environment)
    return 1000 * (time.perf_counter() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes:
    """What became of sessions whose hooks were killed at random, while commands that fold the spool were killed too.

    Hooks were killed within `span_s` of their start. `answered` and `tags` are arms by session: what the agent was
    told, and what the store holds. `tagged` has a session for each time that it was tagged.
    """

    n_killed: int
    span_s: float
    answered: dict[str, str]
    tags: dict[str, str]
    tagged: list[str]


def crash_hooks(folder: Path, count: int) -> Crashes:
    """Start `count` hooks, eight at once, kill a quarter of them at a random moment, and fold what they recorded."""
    folder.mkdir(exist_ok=True)
    path = folder / "kaizen.db"
    with Store.open(path, create=True) as store:
        save_experiment(store, _make_experiment())
    publish(folder, spool_beside(path), "Treatment", "Control")
    command = hook_command(is_project=False, home=str(folder))
    empty = folder / "empty"
    times = time_commands(empty, {"": hook_command(is_project=False, home=None)}, AT_ONCE, 3 * AT_ONCE)[""]
    span_s = 2 * statistics.median(times) / 1000
    lots = random.Random(20261130)
    delays = [lots.uniform(0.0, span_s) if lots.random() < 0.25 else None for _ in range(count)]

    def start(number: int) -> tuple[bool, str | None]:
        """Run one hook; return whether it was killed, and the arm that it answered."""
        given = json.dumps({"session_id": f"s{number}", "cwd": "/", "hook_event_name": "SessionStart"})
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                out, _ = process.communicate(given, timeout=delays[number])
            except subprocess.TimeoutExpired:
                process.kill()
                out, _ = process.communicate()
            if process.returncode not in (0, -signal.SIGKILL):
                raise RuntimeError(f"The hook ended with {process.returncode}")
        answer = json.loads(out)["hookSpecificOutput"]["additionalContext"] if out.endswith("\n") else None
        return process.returncode != 0, answer

    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = pool.map(start, range(count))
        for _ in range(4):
            with subprocess.Popen([sys.executable, "-c", _FOLD, path]) as folding:
                try:
                    folding.wait(timeout=lots.uniform(0.5, 1.5))
                except subprocess.TimeoutExpired:
                    folding.kill()
        ended = list(running)
    with Store.open(path) as store:
        fold_spool(store)
        tags = {session: arm.value for session, arm in manual_tags(store, _EXPERIMENT).items()}
        tagged = [str(session) for (session,) in store.native("select session_id from ka_tag_log")]
        if {item.session_id for item in read_draws(store, _EXPERIMENT)} != tags.keys():
            raise RuntimeError("A draw has no tag, or a tag has no draw")
    return Crashes(
        n_killed=sum(is_killed for is_killed, _ in ended),
        span_s=span_s,
        answered={f"s{number}": arm for number, (_, arm) in enumerate(ended) if arm is not None},
        tags=tags,
        tagged=tagged,
    )


def _make_experiment() -> Experiment:
    return Experiment(
        id=_EXPERIMENT,
        name=_EXPERIMENT,
        hypothesis="",
        change_description="",
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field="variant"),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=0,
    )


def describe_crashes(folder: Path, sessions: int) -> Section:
    """Return what hooks that were killed left behind."""
    count = AT_ONCE * sessions
    found = crash_hooks(folder, count)
    lost = [session for session, arm in found.answered.items() if found.tags.get(session) != arm]
    doubled = len(found.tagged) - len(set(found.tagged))
    wrong = [session for session, arm in found.tags.items() if arm != draw(SEED, _EXPERIMENT, session, 0.5)]
    section = Section("What is left of a hook that is killed")
    section.add_text(
        f"{count} hooks, {AT_ONCE} at once. A quarter of them gets SIGKILL at a random moment of its first "
        f"{1000 * found.span_s:.0f} ms; four "
        "commands that take the spool into the store are killed too."
    )
    rows = [
        ["hooks", f"{count}"],
        ["killed before they ended", f"{found.n_killed}"],
        ["answered: the agent was told its arm", f"{len(found.answered)}"],
        ["in the store", f"{len(found.tags)}"],
        ["answered and missing in the store", f"{len(lost)}"],
        ["in the store twice", f"{doubled}"],
        ["in the store with another arm than the lot's", f"{len(wrong)}"],
    ]
    section.add_table(["", "sessions"], rows)
    failed = len(lost) + doubled + len(wrong)
    section.add_target("acknowledged draws, folded once", "every one", f"{failed} failed", met=not failed)
    return section


def publish(home: Path, spool: Path, treatment: str, control: str | None = None) -> None:
    """Publish one experiment, as `exp start` does."""
    document = {
        "experiment": _EXPERIMENT,
        "seed": SEED,
        "unit": "session",
        "control_share": 0.5,
        "window_start_ms": 0,
        "window_end_ms": 2**53,
        "workspaces": [],
        "spool": str(spool),
        "needs_launch": False,
        "arms": {"Control": {"text": control}, "Treatment": {"text": treatment}},
    }
    (home / "assignments").mkdir(parents=True)
    (home / "assignments" / f"{_EXPERIMENT}.json").write_text(json.dumps(document), encoding="utf-8")


def quantiles(times: list[float]) -> tuple[float, float, float]:
    """Return the median, the 99 % quantile and the largest of some times.

    >>> quantiles([1.0, 2.0, 3.0])
    (2.0, 3.0, 3.0)
    """
    ordered = sorted(times)
    return statistics.median(ordered), ordered[math.ceil(0.99 * len(ordered)) - 1], ordered[-1]


def format_ms(value: float) -> str:
    """Return a time in milliseconds."""
    return f"{value:.0f} ms"


if __name__ == "__main__":
    main()
