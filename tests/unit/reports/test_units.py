"""Units for schedulers: each must carry the command unchanged, whatever is in its paths."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kaizen_analytics.reports.units import UNITS, due_command

AWKWARD = due_command(Path("/usr/bin/python3"), Path("/srv/100% 'ours'/re ports.toml"), Path("/srv/out $HOME"))


def test_cron_gets_one_line_with_percents_escaped() -> None:
    comment, line = UNITS["cron"](AWKWARD).splitlines()
    assert comment.startswith("#")
    minute, *stars, command = line.split(" ", 5)
    assert (minute, stars) == ("*/10", ["*"] * 4)
    assert not re.search(r"(?<!\\)%", command)
    assert shlex.split(command.replace("\\%", "%")) == AWKWARD


def test_github_gets_a_workflow_that_runs_the_command() -> None:
    workflow = yaml.safe_load(UNITS["github"](AWKWARD))
    [step] = workflow["jobs"]["due"]["steps"]
    assert shlex.split(step["run"]) == ["python", *AWKWARD[1:]]
    assert workflow[True]["schedule"] == [{"cron": "*/10 * * * *"}]


def test_airflow_gets_python_that_carries_the_command() -> None:
    tree = ast.parse(UNITS["airflow"](AWKWARD))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert AWKWARD in [shlex.split(text) for text in texts if "kaizen_analytics report due" in text]


@pytest.mark.system
def test_systemd_accepts_service_and_timer(tmp_path: Path) -> None:
    text = UNITS["systemd"](AWKWARD)
    parts = re.split(r"^# (kaizen-reports\.\w+)\n", text, flags=re.MULTILINE)[1:]
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    assert set(files) == {"kaizen-reports.service", "kaizen-reports.timer"}
    assert 'ExecStart="/usr/bin/python3" "-m"' in files["kaizen-reports.service"]
    assert "/srv/100%% 'ours'/re ports.toml" in files["kaizen-reports.service"]
    assert "/srv/out $$HOME" in files["kaizen-reports.service"]
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze on the PATH")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    verified = subprocess.run(
        [program, "verify", "--user", *(str(tmp_path / name) for name in files)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "kaizen-reports" not in verified.stderr
