"""The architecture, held by tests: what a newcomer may rely on when reading the tree."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kaizen_analytics

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "kaizen_analytics"
MODULES = sorted(PACKAGE.rglob("*.py"))
SQL_FILES = sorted((ROOT / "sql").rglob("*.sql"))
TEXT_SUFFIXES = {".py", ".sql", ".md", ".toml", ".ipynb", ".lock", ".j2", ".json", ".yml", ".sh", ""}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_names(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_public_name_exists_and_type_checkers_see_the_same_ones():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    visible = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}

    assert visible == set(kaizen_analytics.__all__)
    assert [name for name in kaizen_analytics.__all__ if not hasattr(kaizen_analytics, name)] == []


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Stor'"):
        kaizen_analytics.Stor  # noqa: B018


def test_sqlite_is_reached_through_duckdb_only():
    assert [relative(path) for path in MODULES if "sqlite3" in imported_names(path)] == []


def test_slow_statistics_are_not_imported_at_run_time():
    slow = {"scipy.stats", "statsmodels", "tea_tasting", "pandas"}
    assert [relative(path) for path in MODULES if imported_names(path) & slow] == []


def test_nobody_catches_everything():
    broad = re.compile(r"except\s*(BaseException|Exception)?\s*(as \w+)?:")
    caught = [
        f"{relative(path)}:{number}"
        for path in MODULES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (match := broad.search(line)) and match.group(1) != "BaseException"
    ]
    assert caught == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_documented_and_small(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text == "" or ast.get_docstring(ast.parse(text)), "a module says in one line what it holds"
    assert text.count("\n") < 900


@pytest.mark.parametrize("path", SQL_FILES, ids=relative)
def test_queries_state_purpose_grain_and_nulls_and_are_tested(path: Path):
    header = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("--"))
    assert re.search(r"^-- purpose: \S", header, re.MULTILINE)
    assert re.search(r"^-- grain: \S", header, re.MULTILINE)
    assert re.search(r"^-- null: \S", header, re.MULTILINE)
    tests = "\n".join(test.read_text(encoding="utf-8") for test in (ROOT / "tests").rglob("test_*.py"))
    assert path.stem in tests, "no test names this query"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=relative)
def test_notebooks_are_thin_and_executed(path: Path):
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in cells if re.search(r"^\s*(def|class) ", "".join(cell["source"]), re.MULTILINE)] == []
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))


def test_the_tree_names_no_package_index_and_no_path_of_one_machine():
    index = re.compile(r"https?://[^\s\"]*/simple/?(\s|\"|$)|index-url *=")
    machine = re.compile(r"(?<![\w.}])/(work|root)/")
    found = []
    for path in tracked_files():
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__) and path.stat().st_size < 2_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [relative(path)] if index.search(text) or machine.search(text) else []
    assert found == []


def test_the_lock_holds_a_hash_for_every_pin_and_the_exact_pair():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pins = re.split(r"\n(?=[a-zA-Z0-9])", lock.strip())
    assert [pin.split("==")[0] for pin in pins if "--hash=sha256:" not in pin] == []
    assert "\nduckdb==1.5.5 " in lock
    assert "\nduckdb-extension-sqlite-scanner==1.5.5 " in lock


def test_help_needs_no_heavy_library():
    script = (
        "import sys; from typer.testing import CliRunner; from kaizen_analytics.cli import app;"
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0, result.output;"
        "print(sorted({'duckdb', 'polars', 'numpy', 'scipy', 'rich', 'papermill', 'altair'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_reference_of_the_command_line_is_current(tmp_path: Path):
    command = [sys.executable, "-m", "typer", "kaizen_analytics.cli", "utils", "docs"]
    subprocess.run([*command, "--name", "kaizen-analytics", "--output", tmp_path / "cli.md"], check=True, cwd=ROOT)
    assert (tmp_path / "cli.md").read_text() == (ROOT / "docs" / "cli.md").read_text(), "run 'make docs'"


def test_every_command_says_what_it_does_and_shows_an_example():
    from typer.main import get_command

    from kaizen_analytics.cli import app

    silent = []
    pending = [("kaizen-analytics", get_command(app))]
    while pending:
        name, command = pending.pop()
        children = getattr(command, "commands", None)
        pending += [(f"{name} {child}", item) for child, item in (children or {}).items()]
        if not command.help or (children is None and name not in (command.epilog or "")):
            silent.append(name)
    assert silent == []
