"""docs/reference/reports.md and docs/how-to/reports.md say what the code does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from kaizen_analytics.reports.publication import EXIT_CODES, RunRecord
from kaizen_analytics.reports.schedules import load_schedules

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "reference" / "reports.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "how-to" / "reports.md").read_text(encoding="utf-8")


def test_the_exit_codes_are_those_of_the_code() -> None:
    documented = re.findall(r"^\| (\d+) \| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert {(int(code), state) for code, state in documented} == {(code, state) for state, code in EXIT_CODES.items()}


def test_every_field_of_the_record_is_documented() -> None:
    section = TEXT[TEXT.index("## The record of a run") : TEXT.index("## Schedules")]
    names = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*`) \|", section, flags=re.MULTILINE))))
    assert names == {field.name for field in fields(RunRecord)}


def test_the_example_of_a_schedule_loads(tmp_path: Path) -> None:
    [example] = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "reports.toml").write_text(example)
    [schedule] = load_schedules(tmp_path / "reports.toml")
    assert (schedule.name, schedule.catch_up, schedule.conclude) == ("weekly-conclusion", 1, True)


@pytest.mark.slow
@pytest.mark.long
def test_the_walk_through_makes_a_report(tmp_path: Path) -> None:
    [walk] = re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
    program = tmp_path / "bin" / "kaizen-analytics"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kaizen_analytics "$@"\n')
    program.chmod(0o700)
    projects = Path(".claude", "projects", "-home-dev-mobile-app")
    shutil.copytree(ROOT / "data" / "sample" / "home" / projects, tmp_path / "home" / projects)
    repository = tmp_path / "home" / "your" / "repository"
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    environment = {
        "HOME": str(tmp_path / "home"),
        "KAIZEN_HOME": str(tmp_path / "kaizen"),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }

    home = f"cd ~\n{walk}"
    done = subprocess.run(["sh", "-e", "-c", home], capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr
    [page] = (repository / "reports").glob("retro_summary/latest/report.html")
    assert str(page.parent.resolve() / page.name) in done.stdout
    assert "<h1" in page.read_text(encoding="utf-8")
    assert "*/10 * * * * " in done.stdout
    again = f"cd ~/your/repository\n{program} report due"
    second = subprocess.run(["sh", "-e", "-c", again], capture_output=True, text=True, check=False, env=environment)
    assert second.stdout == "Nothing is due.\n"
