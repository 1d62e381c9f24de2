"""Rules for every test: Hypothesis profiles, and tests that need a tool of the operating system."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kaizen_analytics.engines.spark import SparkEngine

settings.register_profile("default", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

STRICT = os.environ.get("CI_STRICT") == "1"


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the mirrors of test stores out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def need_tool():
    """Return a function that finds a program, and skips the test (fails it under CI_STRICT=1) where it is missing."""
    import shutil

    def find(*names: str) -> str:
        found = next((path for path in map(shutil.which, names) if path), None)
        if found is None:
            message = f"needs {' or '.join(names)} on the PATH"
            pytest.fail(message) if STRICT else pytest.skip(message)
        return found

    return find


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkEngine]:
    """A Spark Connect server: the one that `KAIZEN_TEST_SPARK` names (sc://host:port), else Sail, in this process."""
    from kaizen_analytics.engines.spark import SparkEngine

    remote = os.environ.get("KAIZEN_TEST_SPARK")
    if remote is not None:
        yield SparkEngine(remote)
        return
    server = pytest.importorskip("pysail.spark").SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    yield SparkEngine(f"sc://{host}:{port}")
    server.stop()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many system tests this machine could not run."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "system" in report.keywords]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} system tests skipped: a tool they need is missing here.")
