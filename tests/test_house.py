"""The architecture, held by tests: what a newcomer may rely on when reading the tree."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from typer.cli import get_docs_for_click
from typer.core import MARKUP_MODE_KEY, TyperGroup
from typer.main import get_command

import kaizen_analytics
from kaizen_analytics.cli import app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "kaizen_analytics"
MODULES = sorted(PACKAGE.rglob("*.py"))
SQL_FILES = sorted((ROOT / "sql").rglob("*.sql"))
TEXT_SUFFIXES = {".py", ".sql", ".md", ".toml", ".ipynb", ".lock", ".j2", ".json", ".yml", ".yaml", ".sh", ""}


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).exists()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


NAMES = {module_name(path) for path in MODULES}


@functools.cache
def imported_names(path: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


@functools.cache
def imported_modules(path: Path) -> frozenset[str]:
    """Return the modules of the package that one of them imports, at any depth and for type checkers too."""
    whole = {alias.name for node in ast.walk(parse(path)) if isinstance(node, ast.Import) for alias in node.names}
    parts = {
        f"{node.module}.{alias.name}" if f"{node.module}.{alias.name}" in NAMES else str(node.module)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    return frozenset((whole | parts) & NAMES - {module_name(path)})


def public_definitions(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    for node in parse(path).body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        yield from ((name, node) for name in names if not name.startswith("_"))


def count_lines(folder: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (ROOT / folder).rglob("*.py"))


def public_names() -> list[str]:
    return [f"{relative(path)}: {name}" for path in MODULES for name, _ in public_definitions(path)]


def repeated_class_names() -> list[str]:
    classes = [node.name for path in MODULES for node in parse(path).body if isinstance(node, ast.ClassDef)]
    return sorted(name for name, times in Counter(classes).items() if times > 1)


def find_cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of more than one node in which each reaches each (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    cycles: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, set())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            at = stack.index(node)
            cycles.append(set(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return [cycle for cycle in cycles if len(cycle) > 1]


def import_cycles() -> list[str]:
    """Name the modules in import cycles; the root package only hands on names (see the test of its imports)."""
    root = {PACKAGE.name}
    graph = {module_name(path): imported_modules(path) - root for path in MODULES if module_name(path) not in root}
    return [" <-> ".join(sorted(cycle)) for cycle in find_cycles(graph)]


@functools.cache
def heavy_libraries() -> set[str]:
    """Read from CONTRIBUTING.md which libraries may be imported inside a function."""
    paragraph = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("Heavy libraries: ")[2]
    return set(re.findall(r"`(\w+)`", paragraph.partition("\n\n")[0]))


def late_imports() -> list[str]:
    found = set()
    for path in MODULES:
        functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        for node in (inner for function in functions for inner in ast.walk(function)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            light = [name for name in names if name.split(".")[0] not in heavy_libraries()]
            found |= {f"{relative(path)}:{node.lineno} {name}" for name in light}
    return sorted(found)


def functions_without_example() -> list[str]:
    return [
        f"{relative(path)}: {name}"
        for path in MODULES
        for name, node in public_definitions(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ">>>" not in (ast.get_docstring(node) or "")
    ]


def missing_pages() -> list[str]:
    """Name the pages of documentation that the code sends a reader to and that do not exist."""
    places = [*MODULES, *SQL_FILES, *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "notebooks").glob("*.ipynb")]
    named = {page for path in places for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    return sorted(page for page in named if not (ROOT / page).exists())


def undocumented_variables() -> list[str]:
    """Name the environment variables that the code reads and docs/reference/configuration.md does not explain."""
    variable = re.compile(r"\"((?:KAIZEN|XDG|CLAUDE|CODEX|SPARK)_[A-Z_]+)\"")
    read = {name for path in MODULES for name in variable.findall(path.read_text(encoding="utf-8"))}
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")
    return sorted(name for name in read if f"`{name}`" not in page)


def count_words() -> int:
    """Count the words of the README and of the pages that are written by hand, without blocks of code."""
    derived = {"cli", "columns", "benchmarks", "faults"}
    found = (ROOT / "docs").rglob("*.md")
    pages = [page for page in found if page.stem not in derived and not page.stem.endswith("-evidence")]
    texts = (page.read_text(encoding="utf-8") for page in [ROOT / "README.md", *pages])
    prose = (re.sub(r"^```.*?^```|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts)
    return sum(1 for text in prose for word in text.split() if re.search(r"\w", word))


@dataclass(frozen=True)
class Rule:
    """A number that the house keeps below its limit; `is_open` as long as it does not."""

    name: str
    limit: int
    measure: Callable[[], int | list[str]]
    is_open: bool = False


RULES = (
    Rule("lines of kaizen_analytics", 18_000, functools.partial(count_lines, "kaizen_analytics"), is_open=True),
    Rule("lines of tests", 15_000, functools.partial(count_lines, "tests"), is_open=True),
    Rule("public names", 400, public_names, is_open=True),
    Rule("words of documentation", 15_000, count_words),
    Rule("class names with two meanings", 0, repeated_class_names),
    Rule("import cycles", 0, import_cycles),
    Rule("light imports inside functions", 0, late_imports),
    Rule("public functions without an example", 0, functions_without_example),
    Rule("names of pages that do not exist", 0, missing_pages),
    Rule("variables that the documentation lacks", 0, undocumented_variables),
)
"""A rule that holds again fails until its `is_open` goes; `pytest --runxfail -k limits` names what is left."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name.replace(" ", "-"))
def test_the_house_keeps_its_limits(rule: Rule):
    found = rule.measure()
    count = found if isinstance(found, int) else len(found)
    said = f"{count:,} {rule.name}, at most {rule.limit:,}"
    print(said)
    if rule.is_open:
        assert count > rule.limit, f"{said}: it holds again, so its is_open goes"
        pytest.xfail(said)
    assert count <= rule.limit, found


def room_of(module: str) -> str:
    return f"{module}.".split(".")[1]


def imports_of_rooms() -> dict[str, set[str]]:
    """Return for each room of the package the other rooms that it imports, for type checkers too."""
    found: dict[str, set[str]] = {}
    for path in MODULES:
        room = room_of(module_name(path))
        found.setdefault(room, set()).update(map(room_of, imported_modules(path)))
    return {room: others - {room, ""} for room, others in found.items() if room}


def test_the_page_of_the_architecture_shows_every_import_and_none_runs_upward():
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    rows = [re.findall(r"`(\w+)`", row) for row in page.splitlines() if row.startswith("| `")]
    order = [room for room, *_ in rows]
    assert {room: set(others) for room, *others in rows} == imports_of_rooms(), "mend the table of the page"
    assert [(room, other) for room, *others in rows for other in others if order.index(other) < order.index(room)] == []


def test_cycles_are_found_through_other_modules():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"f", "e"}}

    assert find_cycles(graph) == [{"a", "b", "c"}]
    assert find_cycles({**graph, "e": {"d"}, "c": {"d"}}) == [{"d", "e"}]


def test_the_map_of_a_room_names_modules_that_exist():
    maps = [path for path in MODULES if path.name == "__init__.py"]
    assert [
        f"{relative(path)}: {name}"
        for path in maps
        for names in re.findall(
            r"^(?:    )?([a-z_]+(?:, [a-z_]+)*) {2,}\S", ast.get_docstring(parse(path)) or "", re.MULTILINE
        )
        for name in names.split(", ")
        if not (path.parent / f"{name}.py").exists() and not (path.parent / name).is_dir()
    ] == []


def test_modules_take_only_the_version_from_the_root_package():
    taken = [
        f"{relative(path)}: {alias.name}"
        for path in MODULES
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE.name
        for alias in node.names
        if f"{PACKAGE.name}.{alias.name}" not in NAMES and alias.name != "__version__"
    ]
    assert taken == []


def test_every_public_name_is_defined_or_handed_on_by_its_module():
    assert [name for name in kaizen_analytics.__all__ if not hasattr(kaizen_analytics, name)] == []
    assert kaizen_analytics.__all__ == sorted(kaizen_analytics.__all__)


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


def test_modules_say_in_one_line_what_they_hold_and_are_small():
    texts = {relative(path): path.read_text(encoding="utf-8") for path in MODULES}
    assert [name for name, text in texts.items() if text and not ast.get_docstring(parse(ROOT / name))] == []
    assert [name for name, text in texts.items() if text.count("\n") >= 760] == []


def test_queries_state_purpose_grain_and_nulls_and_are_tested():
    tests = "\n".join(test.read_text(encoding="utf-8") for test in (ROOT / "tests").rglob("test_*.py"))
    files = [path for path in SQL_FILES if path.parent.name != "migrations"]
    queries = {relative(path): path.read_text(encoding="utf-8") for path in files}
    words = ("purpose", "grain", "null")
    assert [
        f"{name}: {word}"
        for name, text in queries.items()
        for word in words
        if not re.search(rf"^-- {word}: \S", text, re.MULTILINE)
    ] == []
    assert [path.stem for path in files if path.stem not in tests] == [], "no test names these queries"


def test_notebooks_are_thin_and_executed():
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert [cell for cell in cells if re.search(r"^\s*(def|class) ", "".join(cell["source"]), re.MULTILINE)] == []
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), path.name


def test_the_tree_names_no_package_index_and_no_path_of_one_machine():
    index = re.compile(r"https?://[^\s\"]*/simple/?(\s|\"|$)|index-url *=")
    machine = re.compile(r"(?<![\w.}])/(work|root)/")
    found = []
    for path in tracked_files():
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__) and path.stat().st_size < 2_000_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [relative(path)] if index.search(text) or machine.search(text) else []
    assert found == []


def test_the_hooks_use_the_versions_of_the_lock():
    pins = re.findall(r'"(\w+==[\d.]+)"', (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert len(pins) >= 3
    assert [pin for pin in pins if f"\n{pin} " not in lock] == []


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
        "heavy = {'_duckdb', 'duckdb', 'polars', 'numpy', 'scipy', 'rich', 'papermill', 'altair', 'mcp', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_reference_of_the_command_line_is_current():
    group = get_command(app)
    context = typer.Context(group, obj={MARKUP_MODE_KEY: app.rich_markup_mode})
    made = get_docs_for_click(obj=group, ctx=context, name="kaizen-analytics").strip()
    assert f"{made}\n" == (ROOT / "docs" / "reference" / "cli.md").read_text(), "run 'make docs'"


def test_every_command_says_what_it_does_and_shows_an_example():
    group = get_command(app)
    pending = [("kaizen-analytics", group, typer.Context(group))]
    silent = []
    while pending:
        name, command, context = pending.pop()
        names = command.list_commands(context) if isinstance(command, TyperGroup) else None
        for child in names or ():
            found = command.get_command(context, child)
            pending.append((f"{name} {child}", found, typer.Context(found)))
            assert command.commands[child].get_short_help_str(200) == found.get_short_help_str(63)
        if not command.help or (names is None and name not in (command.epilog or "")):
            silent.append(name)
    assert silent == []


@pytest.mark.parametrize(("typed", "offered"), [("re", {"redact", "retro", "report"}), ("exp ta", {"tag", "tags"})])
def test_completion_offers_commands_without_importing_them(typed: str, offered: set[str]):
    words = {"_KAIZEN_ANALYTICS_COMPLETE": "complete_bash", "COMP_WORDS": f"k {typed}"}
    words["COMP_CWORD"] = str(len(typed.split()))
    script = (
        "import sys; from typer.testing import CliRunner; from kaizen_analytics.cli import app;"
        f"print(CliRunner().invoke(app, [], env={words}, prog_name='kaizen-analytics').output);"
        "print(sorted({'_duckdb', 'polars', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == offered | {"[]"}
