"""Ready units that make a platform's scheduler call `report due`: crontab, systemd, GitHub Actions, Airflow."""

from __future__ import annotations

import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_EVERY_MINUTES = 10
"""How often a unit asks what is due; asking is cheap and never makes a slot twice."""


def due_command(program: Path, schedules: Path, out: Path) -> list[str]:
    """Return the command that makes what is due.

    >>> from pathlib import Path
    >>> due_command(Path("python"), Path("reports.toml"), Path("reports"))[2:5]
    ['kaizen_analytics', 'report', 'due']
    """
    python = [str(program), "-m", "kaizen_analytics"]
    return [*python, "report", "due", "--schedules", str(schedules), "--out", str(out)]


def _render_cron(command: list[str]) -> str:
    """Return a line for `crontab -e`; a percent sign would end a command there.

    >>> command = ["python", "-m", "kaizen_analytics", "report", "due"]
    >>> _render_cron(command).splitlines()[1]
    '*/10 * * * * python -m kaizen_analytics report due'
    """
    line = shlex.join(command).replace("%", "\\%")
    return f"# Asks kaizen_analytics which reports are due; each is made once.\n*/{_EVERY_MINUTES} * * * * {line}\n"


def _render_systemd(command: list[str]) -> str:
    """Return a service and a timer, to be saved as two files under ~/.config/systemd/user.

    >>> command = ["python", "-m", "kaizen_analytics", "report", "due"]
    >>> [line for line in _render_systemd(command).splitlines() if line.startswith("ExecStart")]
    ['ExecStart="python" "-m" "kaizen_analytics" "report" "due"']
    """
    line = " ".join(f'"{_systemd_word(word)}"' for word in command)
    return f"""# kaizen-reports.service
[Unit]
Description=Reports of kaizen_analytics that are due

[Service]
Type=oneshot
ExecStart={line}
Nice=10
UMask=0077

# kaizen-reports.timer
[Unit]
Description=Asks every {_EVERY_MINUTES} minutes which reports are due

[Timer]
OnCalendar=*:0/{_EVERY_MINUTES}
Persistent=true

[Install]
WantedBy=timers.target
"""


def _render_github(command: list[str]) -> str:
    """Return a workflow; the store and the folder of reports must be on the runner, as with a self-hosted one.

    >>> command = ["python", "-m", "kaizen_analytics", "report", "due"]
    >>> _render_github(command).splitlines()[-1].strip()
    "run: 'python -m kaizen_analytics report due'"
    """
    line = shlex.join(["python", *command[1:]]).replace("'", "''")
    return f"""name: Reports
on:
  schedule:
    - cron: "*/{_EVERY_MINUTES} * * * *"
  workflow_dispatch:
permissions:
  contents: read
concurrency: kaizen-reports
jobs:
  due:
    runs-on: self-hosted
    steps:
      - name: Make the reports that are due
        run: '{line}'
"""


def _render_airflow(command: list[str]) -> str:
    """Return a DAG; Airflow only calls, all decisions stay with `report due`.

    >>> command = ["python", "-m", "kaizen_analytics", "report", "due"]
    >>> "kaizen_analytics report due" in _render_airflow(command)
    True
    """
    return f'''"""Calls kaizen_analytics, which decides what is due."""

from datetime import datetime, timedelta, timezone

from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG(
    dag_id="kaizen_reports",
    schedule=timedelta(minutes={_EVERY_MINUTES}),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    BashOperator(task_id="due", bash_command={shlex.join(command) + " "!r})
'''


def _systemd_word(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")


UNITS: Mapping[str, Callable[[list[str]], str]] = MappingProxyType(
    {"cron": _render_cron, "systemd": _render_systemd, "github": _render_github, "airflow": _render_airflow},
)
"""What can be emitted, by name."""
