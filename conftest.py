"""Rules for every test: Hypothesis profiles, the sample's store, the names in docstring examples, what was skipped."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.doctest import DoctestModule
from filelock import FileLock
from hypothesis import HealthCheck, settings

import kaizen_analytics.reports  # noqa: F401 - before anything loads nbformat; it says why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import polars as pl

    from kaizen_analytics.analysis import Analysis
    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.plan import Plan
    from kaizen_analytics.experiments.portfolio import Portfolio
    from kaizen_analytics.experiments.power import PowerTable
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.store import Store

settings.register_profile("default", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parent
MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
"""Where Linux keeps files in memory: a store waits for the disk at every commit, which tests need not."""
if hasattr(os, "ST_NOEXEC") and os.access(MEMORY, os.W_OK):
    found = os.statvfs(MEMORY)
    if found.f_bavail * found.f_frsize > 8e9 and not found.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# Hundreds of tests start an interpreter: without its files each start would compile the package again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
STRICT = os.environ.get("CI_STRICT") == "1"
SLOW_S = 0.05
"""A test that needs more of the processor is slow: its name, without parameters, is in `SLOW_TESTS`."""
SLOW_TESTS = ROOT / "tests" / "slow.txt"
WHOLE_RUNS = ("tests/notebooks", "tests/e2e", "tests/faults", "tests/agents")
"""Folders in which every test starts kernels, agents or processes, or judges the whole sample."""
LONG_RUNS = ("tests/faults", "tests/agents")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collection: what an import makes stays, and would be looked through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Iterator[None]:
    """Look for examples only in modules that have one; each would be imported for it."""
    collectors = yield
    if file_path.suffix == ".py" and ">>>" in file_path.read_text(encoding="utf-8"):
        return collectors
    return [collector for collector in collectors if not isinstance(collector, DoctestModule)]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` and `long` what runs the whole, and as `system` what uses a fixture that needs a tool."""
    slow = frozenset(SLOW_TESTS.read_text(encoding="utf-8").splitlines())
    for item in items:
        folder = item.path.relative_to(ROOT).as_posix()
        names = set(getattr(item, "fixturenames", ()))
        if folder.startswith(WHOLE_RUNS) or _bare_name(item.nodeid) in slow or "spark" in names:
            item.add_marker("slow")
        if folder.startswith(LONG_RUNS):
            item.add_marker("long")
        if {"need_tool", "damage_disk", "browser", "agents"} & names:
            item.add_marker("system")


def _bare_name(nodeid: str) -> str:
    return nodeid.partition("[")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Note how much of the processor a test needs, its processes included."""
    before = sum(os.times()[:4])
    try:
        return (yield)
    finally:
        item.user_properties.append(("cpu_s", sum(os.times()[:4]) - before))


@pytest.fixture(scope="session")
def give_up() -> Callable[[str], None]:
    """Return a function that skips a test because this machine lacks something; under CI_STRICT=1 it fails the test."""
    return pytest.fail if STRICT else pytest.skip


@pytest.fixture(scope="session")
def need_tool(give_up: Callable[[str], None]) -> Callable[..., str]:
    """Return a function that finds one of several programs, and gives the test up where there is none."""

    def find(*names: str) -> str:
        found = next((path for path in map(shutil.which, names) if path), None)
        if found is None:
            give_up(f"needs {' or '.join(names)} on the PATH")
        return str(found)

    return find


DISKS = {
    "read-only": 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"',
    "full": 'mount -t tmpfs -o size=4k none "$0" && { cat /dev/zero > "$0/filler" 2>/dev/null || true; }',
}


@pytest.fixture(scope="session")
def damage_disk(need_tool: Callable[..., str]) -> Callable[[str, Path], list[str]]:
    """Return a function: the words before a command that alone finds a folder on a disk that is read-only or full.

    The mount belongs to the command's own namespace and is gone with it. Even root cannot write there.
    """
    namespace = [need_tool("unshare"), "--map-root-user", "--mount", need_tool("sh"), "-c"]
    probe = subprocess.run([*namespace, "mount -t tmpfs none /mnt"], check=False, capture_output=True)  # noqa: S603
    if probe.returncode != 0:
        pytest.skip("this machine permits no mounts in a namespace of one's own")
    return lambda damage, folder: [*namespace, f'{DISKS[damage]} && exec "$@"', str(folder)]


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests compute out of the user's cache, and the width of this terminal out of what they print."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def sample_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of the sample with its experiments concluded; to be read only. Workers share one file."""
    from sample_store import write_store

    folder = tmp_path_factory.getbasetemp()
    path = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "sample-store" / "analytics.db"
    with FileLock(path.parent.with_suffix(".lock")):
        if not path.exists():
            made = path.parent.with_suffix(".new")
            made.mkdir()
            write_store(made / path.name)
            made.rename(path.parent)
    return path


@pytest.fixture(scope="session")
def _store_of_examples(sample_store: Path) -> Iterator[Store]:
    from kaizen_analytics.store import Store

    with Store.open(sample_store, read_only=True) as store:
        yield store


@pytest.fixture
def _writable_copy_of_examples(sample_store: Path, tmp_path: Path) -> Iterator[Store]:
    from kaizen_analytics.store import Store

    with Store.open(shutil.copy(sample_store, tmp_path)) as store:
        yield store


@pytest.fixture(scope="session")
def _analysis_of_examples(sample_store: Path) -> Analysis:
    from kaizen_analytics.analysis import open_analysis

    return open_analysis(sample_store)


@pytest.fixture(scope="session")
def _power_table_of_examples() -> PowerTable:
    """Return a table as `analysis.power` gives it, without its seconds of simulation."""
    from kaizen_analytics.core.model import DesignKind, Metric, Window
    from kaizen_analytics.experiments.plan import Statistic
    from kaizen_analytics.experiments.power import PowerRow, PowerTable

    return PowerTable(
        metric=Metric.TOKENS_PER_SESSION,
        window=Window(start_ms=0, end_ms=21 * 86_400_000),
        sessions=313,
        per_day=14.9,
        target_pct=0.0,
        alpha=0.05,
        power=0.8,
        design=DesignKind.PLANNED,
        statistic=Statistic.MEDIAN,
        guardrails=0,
        simulations=200,
        detectable_pct=-30.0,
        rows=(
            PowerRow(true_pct=-30, probability=0.8, low=0.6, high=0.9, n_per_arm=160, days=22, n_low=0.7, n_high=0.9),
        ),
    )


@pytest.fixture(scope="session")
def _evaluation_of_examples(_analysis_of_examples: Analysis) -> Evaluation:
    return _analysis_of_examples.evaluate("plan-first")


@pytest.fixture(scope="session")
def _experiment_of_examples(_evaluation_of_examples: Evaluation) -> Experiment:
    return _evaluation_of_examples.experiment


@pytest.fixture(scope="session")
def _plan_of_examples(_evaluation_of_examples: Evaluation) -> Plan:
    return _evaluation_of_examples.plan


@pytest.fixture(scope="session")
def _portfolio_of_examples(_analysis_of_examples: Analysis) -> Portfolio:
    return _analysis_of_examples.portfolio(now_ms=0)


@pytest.fixture(scope="session")
def _retro_of_examples(_analysis_of_examples: Analysis) -> Retro:
    return _analysis_of_examples.retro("2026-W38")


@pytest.fixture(scope="session")
def _judged_sample_of_examples(_store_of_examples: Store) -> pl.DataFrame:
    from kaizen_analytics.experiments.lifecycle import read_judged_sample

    return read_judged_sample(_store_of_examples, "plan-first", now_ms=0)[2]


_EXAMPLES = {
    "store": "_store_of_examples",
    "writable": "_writable_copy_of_examples",
    "analysis": "_analysis_of_examples",
    "evaluation": "_evaluation_of_examples",
    "experiment": "_experiment_of_examples",
    "plan": "_plan_of_examples",
    "portfolio": "_portfolio_of_examples",
    "power_table": "_power_table_of_examples",
    "retro": "_retro_of_examples",
    "sample": "_judged_sample_of_examples",
    "tmp": "tmp_path",
}
"""Names that docstring examples may use, with the fixture that makes each."""


@pytest.fixture(autouse=True)
def _names_of_examples(request: pytest.FixtureRequest, doctest_namespace: dict[str, object]) -> None:
    """Give a docstring's example the names that it uses.

    They are `store` and `analysis` (of the sample), its `portfolio` and `retro`, its `experiment` plan-first with the
    `plan`, the `evaluation` and the `sample`, `writable` (a copy of the store), `power_table` (made by hand) and `tmp`
    (a folder).
    """
    test = getattr(request.node, "dtest", None)
    if test is None:
        return
    source = "\n".join(example.source for example in test.examples)
    for name, fixture in _EXAMPLES.items():
        doctest_namespace.pop(name, None)
        if name not in test.globs and re.search(rf"\b{name}\b", source):
            doctest_namespace[name] = request.getfixturevalue(fixture)


def pytest_report_header() -> list[str]:
    """Print the size of the house."""
    return [f"lines: {_count('kaizen_analytics'):,} in kaizen_analytics/, {_count('tests'):,} in tests/"]


def _count(folder: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (ROOT / folder).rglob("*.py"))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what this machine could not test, by reason, and the tests that lack the marker `slow`."""
    reports = [report for report in terminalreporter.stats.get("skipped", []) if "system" in report.keywords]
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
    if reasons:
        terminalreporter.section("not tested on this machine")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} system tests: {reason}")
    if "not slow" not in terminalreporter.config.getoption("markexpr"):
        return
    passed = [report for report in terminalreporter.stats.get("passed", []) if "system" not in report.keywords]
    slow = {_bare_name(report.nodeid) for report in passed if dict(report.user_properties)["cpu_s"] > SLOW_S}
    if slow and os.environ.get("KAIZEN_RENEW") == "1":
        known = SLOW_TESTS.read_text(encoding="utf-8").splitlines()
        SLOW_TESTS.write_text("\n".join(sorted({*known, *slow})) + "\n", encoding="utf-8")
    elif slow:
        terminalreporter.section(f"more than {SLOW_S:g} s of the processor: make fast, or list in {SLOW_TESTS.name}")
        terminalreporter.write_line("\n".join(sorted(slow)))
