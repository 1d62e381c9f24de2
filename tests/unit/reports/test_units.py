"""Units for schedulers: each must carry the command unchanged, whatever is in its paths."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from kaizen_analytics.cli import app
from kaizen_analytics.reports.schedules import UNITS, due_command, ingest_command

AWKWARD = due_command(Path("/usr/bin/python3"), Path("/srv/100% 'ours'/re ports.toml"), Path("/srv/out $HOME"))
INGEST = ingest_command(Path("/usr/bin/python3"), Path("/srv/100% 'ours'/all.db"), Path("/srv/$HOME"))


def test_cron_gets_one_line_with_percents_escaped() -> None:
    comment, line = UNITS["cron"]([INGEST, AWKWARD]).splitlines()
    assert comment.startswith("#")
    minute, *stars, command = line.split(" ", 5)
    assert (minute, stars) == ("*/10", ["*"] * 4)
    assert not re.search(r"(?<!\\)%", command)
    assert [shlex.split(part) for part in command.replace("\\%", "%").split("; ")] == [INGEST, AWKWARD]


def test_github_gets_a_workflow_that_runs_the_command() -> None:
    workflow = yaml.safe_load(UNITS["github"]([INGEST, AWKWARD]))
    ingest, due = workflow["jobs"]["due"]["steps"]
    assert shlex.split(ingest["run"]) == ["python", *INGEST[1:]]
    assert shlex.split(due["run"]) == ["python", *AWKWARD[1:]]
    assert due["if"] == "always()", "a failed ingest keeps no report from being made"
    assert workflow[True]["schedule"] == [{"cron": "*/10 * * * *"}]


def test_airflow_gets_python_that_carries_the_command() -> None:
    tree = ast.parse(UNITS["airflow"]([INGEST, AWKWARD]))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    [line] = [text for text in texts if "kaizen_analytics report due" in text]
    assert [shlex.split(part) for part in line.split("; ")] == [INGEST, AWKWARD]


@pytest.mark.system
def test_systemd_accepts_service_and_timer(tmp_path: Path, need_tool) -> None:
    files = split_units(UNITS["systemd"]([INGEST, AWKWARD]))
    assert set(files) == {"kaizen-reports.service", "kaizen-reports.timer"}
    assert 'ExecStart="/usr/bin/python3" "-m"' in files["kaizen-reports.service"]
    assert 'ExecStart=-"/usr/bin/python3" "-m" "kaizen_analytics" "--quiet" "ingest"' in files["kaizen-reports.service"]
    assert "/srv/100%% 'ours'/re ports.toml" in files["kaizen-reports.service"]
    assert "/srv/out $$HOME" in files["kaizen-reports.service"]
    program = need_tool("systemd-analyze")
    files["kaizen-reports.service"] = files["kaizen-reports.service"].replace("/usr/bin/python3", sys.executable)
    assert verify(program, tmp_path, files) == ""
    wrong = {name: text.replace("*:0/10", "*:0/x").replace("oneshot", "once") for name, text in files.items()}
    assert "Failed to parse" in verify(program, tmp_path, wrong)


def split_units(text: str) -> dict[str, str]:
    parts = re.split(r"^# (kaizen-reports\.\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def verify(program: str, folder: Path, files: dict[str, str]) -> str:
    """Return what systemd-analyze says about these files."""
    for name, content in files.items():
        (folder / name).write_text(content)
    command = [program, "verify", "--user", "--man=no", *(str(folder / name) for name in files)]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    verified = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert "Failed to initialize" not in verified.stderr
    return "\n".join(line for line in verified.stderr.splitlines() if "kaizen-reports" in line)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return the command for schedules in a folder with an awkward name, of which nothing is due."""
    folder = tmp_path / "100% 'ours' $HOME"
    folder.mkdir()
    schedules = folder / "reports.toml"
    schedules.write_text('[later]\nreport = "portfolio"\ncron = "0 7 * * 1"\nsince = 2999-01-01T00:00:00Z\n')
    return due_command(Path(sys.executable), schedules, folder / "out")


def test_the_command_line_takes_the_command(command: list[str]) -> None:
    done = CliRunner().invoke(app, command[command.index("report") :])
    assert (done.exit_code, done.stdout) == (0, "Nothing is due.\n")


def run_shell(shell: str, line: str, folder: Path) -> list[str]:
    """Return what a line hands to kaizen_analytics, in the environment of a scheduler: no more than a PATH."""
    (folder / "kaizen_analytics.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(folder)}
    command = [shell, "-e", "-c", line]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cron_runs_its_line(command: list[str], tmp_path: Path) -> None:
    line = UNITS["cron"]([command]).splitlines()[1].split(" ", 5)[5]
    assert run_shell("sh", line.replace("\\%", "%"), tmp_path) == command[3:]


def test_github_runs_its_step(command: list[str], tmp_path: Path) -> None:
    workflow = yaml.safe_load(UNITS["github"]([command]))
    assert run_shell("bash", workflow["jobs"]["due"]["steps"][0]["run"], tmp_path) == command[3:]


def test_airflow_runs_its_task(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[dict[str, object]] = []
    for name, members in AIRFLOW.items():
        module = types.ModuleType(name)
        vars(module).update({member: make(tasks) for member, make in members.items()})
        monkeypatch.setitem(sys.modules, name, module)
    exec(compile(UNITS["airflow"]([command]), "dag.py", "exec"), {})
    [task] = tasks
    assert run_shell("bash", str(task["bash_command"]), tmp_path) == command[3:]


AIRFLOW = {
    "airflow": {"DAG": lambda _: lambda **_: contextlib.nullcontext()},
    "airflow.operators": {},
    "airflow.operators.bash": {"BashOperator": lambda tasks: lambda **task: tasks.append(task)},
}
"""As much of Airflow as the emitted file touches."""
