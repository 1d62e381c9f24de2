"""Try the newest DuckDB, in an environment of its own, and say what is missing to move to it.

    python tests/try_newest_duckdb.py

The sqlite extension is built for one exact DuckDB, so both must be there. Exits with 0 if the store's tests pass or if
nothing is newer, with 3 if the extension is still missing, with pytest's own code if tests fail.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "newest-duckdb"
EXTENSION = "duckdb-extension-sqlite-scanner"
TESTS = ("tests/unit/store", "tests/sql")


def main() -> int:
    """Install, test, report."""
    pinned = re.search(r'"duckdb==([^"]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))[1]
    python = make_environment()
    pip(python, "duckdb", "--upgrade")
    newest = ask(python, "import duckdb; print(duckdb.__version__)")
    if newest == pinned:
        print(f"DuckDB {pinned} is the newest; there is nothing to try.")
        return 0
    print(f"Pinned: DuckDB {pinned}. Newest: {newest}.")
    if pip(python, f"{EXTENSION}=={newest}", check=False):
        print(f"Missing: {EXTENSION}=={newest}; the pin cannot move before it is there.")
        return 3
    done = subprocess.run([python, "-m", "pytest", "-q", *TESTS], cwd=ROOT, check=False)
    print(f"The store's tests on DuckDB {newest}: {'passed' if done.returncode == 0 else 'failed'}.")
    return done.returncode


def make_environment() -> Path:
    """Return the Python of a fresh environment that sees this one's packages beneath its own."""
    venv.create(FOLDER, with_pip=True, clear=True)
    python = FOLDER / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    place = ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))")
    beneath = [path for path in sys.path if path.endswith("site-packages")]
    (Path(place) / "beneath.pth").write_text("\n".join([str(ROOT), *beneath]) + "\n", encoding="utf-8")
    return python


def pip(python: Path, *arguments: str, check: bool = True) -> int:
    """Install into the environment, over what lies beneath; return pip's exit code."""
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--ignore-installed",
        "--disable-pip-version-check",
    ]
    return subprocess.run([*command, *arguments], check=check, capture_output=not check).returncode


def ask(python: Path, program: str) -> str:
    """Return what a small program prints in the environment."""
    return subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
