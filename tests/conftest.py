"""Rules for every test: Hypothesis profiles, and tests that need a tool of the operating system."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("default"), max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

STRICT = os.environ.get("CI_STRICT") == "1"


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


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many system tests this machine could not run."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "system" in report.keywords]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} system tests skipped: a tool they need is missing here.")
