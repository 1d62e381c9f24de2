"""Build the wheel, install it into a fresh environment and use it outside of the checkout, as a user would.

    python tests/try_wheel.py [--keep]

The dependencies are those of requirements.lock, so that the same wheel gives the same answer next month. Exits with 1
if the command does not start, the sample is not read whole, or a report does not come out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
NOT_FOR_THE_COMMAND_LINE = ("altair", "jupyterlab", "vl_convert", "pyspark", "pytest")


def main() -> int:
    """Try the wheel."""
    folder = Path(tempfile.mkdtemp(prefix="kaizen-wheel-"))
    try:
        wheel = build(folder)
        try_it(install(wheel, folder), folder)
    finally:
        if "--keep" not in sys.argv:
            shutil.rmtree(folder)
    return 0


def build(folder: Path) -> Path:
    """Build the wheel from a copy of what git tracks: files that lie about in the checkout must not help it."""
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source)
    [wheel] = folder.glob("*.whl")
    print(f"built {wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install it into a fresh environment and return the folder of its programs."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?(==\S+(?: ;[^\\\n]+)?)", lock, re.MULTILINE)
    (folder / "constraints.txt").write_text("".join(f"{name}{pin}\n" for name, pin in pins), encoding="utf-8")
    run(programs / "python", *PIP, "--constraint", folder / "constraints.txt", wheel)
    listed = run(programs / "python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check")
    size_mb = sum(path.stat().st_size for path in environment.rglob("*") if path.is_file()) / 1e6
    print(f"installed {len(json.loads(listed))} packages, {size_mb:.0f} MB")
    return programs


def try_it(programs: Path, folder: Path) -> None:
    """Ask for the version, read the sample, make a report; nothing of the checkout but the sample's transcripts."""
    command = programs / "kaizen-analytics"
    home = folder / "home"
    shutil.copytree(ROOT / "data" / "sample" / "home", home)
    store = folder / "analytics.db"
    print(run(command, "--version", home=home).strip())
    absent = f"import importlib.util as u; print([n for n in {NOT_FOR_THE_COMMAND_LINE} if u.find_spec(n)])"
    check(run(programs / "python", "-c", absent, home=home).strip() == "[]", "the core brings what only extras need")
    run(command, "ingest", "--store", store, "--home", home, home=home)
    sessions = json.loads(run(command, "metrics", "--store", store, "--json", home=home))["sessions"]
    transcripts = list(home.rglob("*.jsonl"))
    print(f"read {len(sessions)} sessions from {len(transcripts)} transcripts")
    check(len(sessions) > 100, "the sample was not read")
    run(command, "report", "run", "portfolio", "--store", store, "--out", folder / "reports", home=home)
    [page] = (folder / "reports").rglob("latest/report.html")
    check("<h1" in page.read_text("utf-8"), "the report has no title")
    print(f"wrote a report of {page.stat().st_size / 1e3:.0f} kB")


def run(*command: object, home: Path | None = None) -> str:
    """Run a program in an empty folder, without this checkout on any path; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "KAIZEN_"))}
    if home is not None:
        environment |= {"HOME": str(home), "KAIZEN_HOME": str(home / ".kaizen"), "XDG_CACHE_HOME": str(home / "cache")}
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [str(word) for word in command], cwd=empty, env=environment, capture_output=True, text=True, check=False
        )
    check(done.returncode == 0, f"{command[0]} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check(holds: bool, message: str) -> None:  # noqa: FBT001 - a condition, like assert
    """End with a message if something does not hold."""
    if not holds:
        sys.exit(f"make test-wheel: {message}")


if __name__ == "__main__":
    sys.exit(main())
