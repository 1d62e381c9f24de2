"""All that leaves, over a store whose every text is a canary: none is left but what is shared on purpose.

`EXITS` is the table: what is asked, and whether names of experiments are shared by it. Each exit is also asked without
its cover where it has one, and must then show canaries, so that a row cannot pass because nothing was read.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import anyio
import pytest
import typer
from canary_stores import CANARY, NOW_MS, WEEK, fill_store, find_canaries, listen, text_columns
from mcp.client import client

from kaizen_analytics.cli import app
from kaizen_analytics.core.errors import RedactionError
from kaizen_analytics.core.model import Branch, PromptFingerprint, Window
from kaizen_analytics.experiments.evaluation import Evaluation, Segment
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.experiments.portfolio import Portfolio, read_portfolio
from kaizen_analytics.exports.files import Format, _encode, deliver
from kaizen_analytics.exports.lake.reading import make_lake_key
from kaizen_analytics.exports.tables import export_retro, export_table
from kaizen_analytics.pages.conclusion import _LargeSession
from kaizen_analytics.redact import KnownIdentities, Redactor
from kaizen_analytics.reports.sharing import NAMES, Share
from kaizen_analytics.retro.followup import Standing
from kaizen_analytics.retro.retro import Retro, compute_retro
from kaizen_analytics.retro.wording import Wording
from kaizen_analytics.serving.answers import Answers
from kaizen_analytics.serving.server import _build_server
from kaizen_analytics.store import Store
from kaizen_analytics.store.retros import decline_finding, list_findings

EMPTY = {
    # Not filled by what the fixture does: ingestion's own notes, and what only an import brings.
    "ka_bets",
    "ka_files",
    "ka_rejects",
    "ka_records",
    "ka_places",
    "session_outcomes",
    "session_evals",
    "session_samples",
    "file_facts",
}
OURS = {
    *(("ka_digests", column) for column in ("digest", "kind")),
    *(("ka_findings", column) for column in ("id", "reason")),
    *(("ka_retros", column) for column in ("id", "workspace")),
    ("ka_samples", "reason"),
    ("ka_tag_log", "reason"),
}
NAMED = "exp-plan"
"""The experiment of a store in which what users share on purpose is no canary."""
SHARE = Share(KnownIdentities(), bytes(32))


def test_every_text_column_of_the_store_holds_the_canary(canary_store: Store):
    bare = [
        (table, column)
        for table, column in text_columns(canary_store)
        if table not in EMPTY
        and (table, column) not in OURS
        and not canary_store.native(f'select 1 from "{table}" where "{column}" like ? limit 1', f"%{CANARY}%")
    ]
    assert bare == []


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("named") / "kaizen.db"
    with Store.open(path, create=True, journal_mode="DELETE") as store:
        fill_store(store, named=NAMED)
    return path


ROOT = Path(__file__).parents[3]
REPORT = ("--share", "--format", "html,md,json,ipynb", "--out", "made")
PAGES = {"report retro_summary": "Retro", "report portfolio": "Plan first", "exp report": "Plan first"}
PAGES |= {"report due, with a message": "Retro"}
"""What each report must show, so that it does not pass because nothing was read."""
NOW = "2026-10-06T08:00:00Z"
SCHEDULE = """[weekly]
report = "retro_summary"
cron = "0 6 * * 1"
share = true
formats = ["md"]
parameters = {week = "2026-W40"}
"""
SHOWN = {"sessions search": r'"text": "(?:[^"\\\\]|\\\\.)*"'}
"""What somebody asked to see: the text that was searched."""


def find_plugin_commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what the plugins' commands and skills run and show to an agent, with the file that says so."""
    for file in sorted((ROOT / "plugins").rglob("*.md")):
        for number, found in enumerate(
            re.findall(r"kaizen-analytics ([^`|]* --share\b[^`|]*)", file.read_text("utf-8"))
        ):
            words = found.replace("2>&1", "").replace("$ARGUMENTS", NAMED).replace("ID", NAMED)
            yield f"{file.parent.name}/{file.stem} {number}", tuple(shlex.split(words))


# A command, and what of it is left out to see what the store holds.
RETRO = ("retro", "--week", "2026-W40", "--dry-run")
EXPORTS = ["sessions", "metrics", "experiments", "retro"]
EXITS: dict[str, tuple[tuple[str, ...], str | None]] = {
    **{
        f"export {name} as {form}": (
            ("export", name, "--to", f"out.{form}", *(("--week", "2026-W40") if name == "retro" else ())),
            None,
        )
        for name in EXPORTS
        for form in Format
    },
    "export lake": (("export", "lake", "--to", "lake"), None),
    "what a lake would get": (("export", "lake", "--to", "lake", "--preview"), None),
    "exp evaluate": (("exp", "evaluate", NAMED, "--share"), None),
    "exp evaluate as JSON": (("exp", "evaluate", NAMED, "--share", "--json"), "--share"),
    **{f"retro as {form}": ((*RETRO, "--share", "--format", form), "--share") for form in ("md", "html", "json")},
    "retro as text": ((*RETRO, "--share"), "--share"),
    "sessions search": (("sessions", "search", "wrote", "--share", "--json"), "--share"),
    "report retro_summary": (("report", "run", "retro_summary", "-p", "week=2026-W40", *REPORT), None),
    "report portfolio": (("report", "run", "portfolio", *REPORT), None),
    "exp report": (("exp", "report", NAMED, *REPORT), None),
    "report due, with a message": (
        ("report", "due", "--now", NOW, "--out", "made", "--notify", "json://127.0.0.1:PORT"),
        None,
    ),
    "OTLP": (("export", "metrics", "--to", "otlp://127.0.0.1:PORT"), None),
    "judge": (("judge", "runs.csv", "--metric", "tokens", "--task", "task", "--output", "page.html"), None),
    "comment of the action": (("action", *RETRO, "--share", "--format", "md"), None),
    **{f"plugin {name}": (command, None) for name, command in find_plugin_commands()},
    **{f"MCP {name}": (("mcp", name), "full") for name in ("usage", "sessions", "evaluate", "retro")},
    **{f"MCP {name}": (("mcp", name), None) for name in ("outcomes", "experiments", "power", "page")},
}
CALLS = {
    "usage": {"by": ["workspace", "model"], "days": 3660},
    "sessions": {"days": 3660},
    "outcomes": {"days": 3660},
    "experiments": {},
    "evaluate": {"experiment": NAMED},
    "power": {"metric": "tokens_per_session", "days": 3660},
    "retro": {"days": 28},
}


def leave(path: Path, command: tuple[str, ...], *, full: bool = False) -> dict[str, bytes]:
    """Return all that an exit gives: what it prints and sends, and the files that it writes with their names."""
    if command[0] == "mcp":
        return {"answer": anyio.run(ask, path, command[1], full).encode()}
    printed = io.StringIO()
    before = {file for file in Path().rglob("*") if file.is_file()}
    with listen() as listener:
        words = [word.replace("PORT", str(listener.server_port)) for word in command if word != "action"]
        stores = [] if words[0] == "judge" or words[:2] == ["report", "due"] else ["--store", str(path)]
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.suppress(typer.Exit):
            app([*words, *stores], standalone_mode=False)
        if command[0] == "action":
            post_comment(printed.getvalue(), listener.server_port)
        sent = {f"message {number}": body for number, body in enumerate(listener.bodies)}
    assert sent or "PORT" not in "".join(command)
    written = [file for file in Path().rglob("*") if file.is_file() and file not in before]
    shown = printed.getvalue().replace(str(path), "")
    return {"printed": shown.encode(), **sent, **{str(file): file.read_bytes() for file in written}}


def post_comment(text: str, port: int) -> None:
    """Run the script of the action on a Markdown file."""
    Path("result.md").write_text(text, encoding="utf-8")
    Path("event.json").write_text('{"pull_request": {"number": 7}}')
    given = {"FILE": "result.md", "NAME": "result", "AUTHOR": "bot", "TOKEN": "t0ken"}
    places = {
        "API_URL": f"http://127.0.0.1:{port}",
        "REPOSITORY": "a/b",
        "EVENT_PATH": "event.json",
        "STEP_SUMMARY": "summary.md",
    }
    environment = {f"KAIZEN_{name}": value for name, value in given.items()}
    environment |= {f"GITHUB_{name}": value for name, value in places.items()}
    script = ROOT / "plugins" / "github" / "post_comment.py"
    subprocess.run([sys.executable, script], env={"PATH": "/usr/bin:/bin", **environment}, check=True)


async def ask(path: Path, name: str, full: bool) -> str:  # noqa: FBT001 - anyio passes by place
    answers = Answers(store=path, clock=lambda: NOW_MS, full=full)
    async with client.Client(_build_server(lambda: answers)) as session:
        if name == "page":
            return str((await session.read_resource("kaizen://retro")).contents[0].text)
        result = await session.call_tool(name, CALLS[name])
    assert not result.is_error, result.content[0].text
    return str(result.content[0].text)


KERNELS = ("report portfolio", "report due, with a message")
"""Exits with a kernel of their own, beside `report retro_summary` and `exp report`: for `make test-all`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in KERNELS else []) for name in EXITS]
)
def test_nothing_leaves_but_what_is_shared_on_purpose(
    named: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    command, cover = EXITS[name]
    path = Path(shutil.copy(named, tmp_path / "kaizen.db"))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    monkeypatch.setenv("KAIZEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAIZEN_STORE", str(path))
    Path("reports.toml").write_text(SCHEDULE)
    arms = ("control", "treatment") * 12
    runs = [f"{arm},{1000 + 7 * number},{CANARY} {number // 2},{CANARY}" for number, arm in enumerate(arms)]
    Path("runs.csv").write_text("\n".join(["arm,tokens,task,note", *runs]))
    make_lake_key(tmp_path / "home" / "lake.key")
    for module in ("export", "retro", "experiments"):
        monkeypatch.setattr(f"kaizen_analytics.cli.{module}.read_clock", lambda: NOW_MS, raising=False)
    left = {
        place: re.sub(SHOWN.get(name, r"\A\b\B"), "", raw.decode("latin-1")).encode("latin-1")
        for place, raw in leave(path, command).items()
    }
    assert {place: find_canaries(place.encode() + raw) for place, raw in left.items()} == {place: [] for place in left}
    assert sum(map(len, left.values())) > 100
    assert PAGES.get(name, "").encode() in b"".join(left.values())
    if cover:
        bare = leave(path, tuple(part for part in command if part != cover), full=cover == "full")
        assert find_canaries(b"".join(bare.values()))


@pytest.mark.parametrize("name", ["sessions", "metrics", "experiments"])
def test_no_table_carries_what_an_experiment_is_called(canary_store: Store, redactor: Redactor, name: str):
    made = export_table(canary_store, name, redactor, now_ms=NOW_MS)
    assert made.frame.height > 1
    assert {form: find_canaries(_encode(made, form)) for form in Format} == {form: [] for form in Format}


def test_a_follow_up_carries_no_word_either(canary_store: Store, redactor: Redactor):
    decline_finding(canary_store, list_findings(canary_store)[0].id, f"{CANARY} says no", now_ms=NOW_MS)
    week = Window(start_ms=WEEK.end_ms, end_ms=WEEK.end_ms + WEEK.length_ms)
    retro = compute_retro(canary_store, week, now_ms=NOW_MS + week.length_ms)
    assert {one.standing for one in retro.followed} == {Standing.DECLINED, Standing.PROPOSED}
    assert find_canaries(_encode(export_retro(retro, Wording(redactor=redactor)), Format.MARKDOWN)) == []


def test_text_that_was_asked_for_leaves_without_secrets(canary_store: Store, redactor: Redactor):
    canary_store.native("update sessions set branch = 'fix jane.doe@corp.io' returning 1")
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS, with_text=True)
    branches = set(made.frame["branch_name"])
    assert len(branches) == 1
    assert str(branches.pop()).startswith("fix <R:em:")
    assert find_canaries(_encode(made, Format.CSV))


def test_the_finished_file_is_looked_at_once_more(redactor: Redactor, tmp_path: Path, monkeypatch, canary_store: Store):
    made = export_table(canary_store, "sessions", redactor, now_ms=NOW_MS)
    leak = json.dumps({"mail": "jane.doe@corp.io"}).encode()
    monkeypatch.setattr("kaizen_analytics.exports.files._encode", lambda _made, _form: leak)
    target = tmp_path / "sessions.json"
    with pytest.raises(RedactionError, match=r"sessions\.json held 1 value"):
        deliver(made, str(target), None, redactor.scanner)
    assert not target.exists()


# Records: what pages, answers and retros show, field by field


ON_PURPOSE = {
    "Experiment.id",
    "Experiment.name",
    "Experiment.hypothesis",
    "Experiment.change_description",
    "ExperimentLine.id",
    "ExperimentLine.name",
    "PortfolioLine.id",
    "PortfolioLine.name",
}
"""Who shares a report on an experiment shares what it is called and what it is about."""


def find_fields(node: object, place: str = "") -> Iterator[str]:
    """Yield the fields that hold a canary."""
    if isinstance(node, str):
        if CANARY in node.lower():
            yield place
    elif is_dataclass(node):
        for one in fields(node):
            yield from find_fields(getattr(node, one.name), f"{type(node).__name__}.{one.name}")
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from (*find_fields(key, place), *find_fields(value, place))
    elif isinstance(node, list | tuple | set | frozenset):
        for item in node:
            yield from find_fields(item, place)


def read(name: str, store: Store) -> object:
    if name == "evaluation":
        return evaluate(store, f"exp-{CANARY}", now_ms=NOW_MS)
    if name == "portfolio":
        return read_portfolio(store, now_ms=NOW_MS)
    return compute_retro(store, WEEK, now_ms=NOW_MS)


@pytest.mark.parametrize("name", ["evaluation", "portfolio", "retro"])
def test_only_what_is_shared_on_purpose_is_left(canary_store: Store, name: str):
    record = read(name, canary_store)
    before, after = set(find_fields(record)), set(find_fields(SHARE.project(record)))
    assert after <= ON_PURPOSE
    assert before & ON_PURPOSE


def list_text_fields(root: type) -> dict[str, tuple[type, str]]:
    """Return every field below a record that can hold a text, by its name in `NAMES`."""
    found: dict[str, tuple[type, str]] = {}
    waiting, seen = [root], set()
    while waiting:
        record = waiting.pop()
        if record in seen:
            continue
        seen.add(record)
        for field, hint in find_hints(record).items():
            parts = list(flatten(hint))
            waiting += [part for part in parts if is_dataclass(part)]
            if str in parts:
                found[f"{record.__name__}.{field}"] = (record, field)
    return found


def find_hints(record: type) -> dict[str, object]:
    """Return the types of a record's fields, also of those that only type checkers import."""
    known: dict[str, object] = {}
    names = {one.name for one in fields(record)}
    while True:
        try:
            hints = get_type_hints(record, vars(sys.modules[record.__module__]), known)
        except NameError as error:
            ours = [
                module for name, module in sys.modules.items() if name.startswith(("kaizen_analytics", "collections"))
            ]
            known[error.name] = next(vars(module)[error.name] for module in ours if error.name in vars(module))
        else:
            return {name: hint for name, hint in hints.items() if name in names}


def flatten(hint: object) -> Iterator[object]:
    yield hint
    for part in get_args(hint):
        yield from flatten(part)


ROOTS = (Evaluation, _LargeSession, Portfolio, Retro)
FIELDS = {name: place for root in ROOTS for name, place in list_text_fields(root).items()}
LEFT = {name for name, kind in NAMES.items() if kind in {"shared", "ours"}}


def test_every_field_that_has_a_kind_exists():
    assert sorted(NAMES.keys() - FIELDS.keys()) == []


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_text_field_of_a_record_leaves_as_it_is(name: str):
    record, field = FIELDS[name]
    value = {"sentence": f"`{CANARY}` x", "settings": f'{{"{CANARY}": 1}}'}.get(NAMES.get(name, ""), f"{CANARY} x")
    node = object.__new__(record)
    for one in fields(record):
        object.__setattr__(node, one.name, value if one.name == field else None)
    left = getattr(SHARE.project(node), field)
    assert (CANARY in left) == (name in LEFT)


def test_a_field_that_nobody_declared_is_covered():
    @dataclass
    class Evaluation:
        later: str
        texts: tuple[str, ...]
        named: dict[str, str]

    assert list(find_fields(SHARE.project(Evaluation(CANARY, (CANARY,), {CANARY: CANARY})))) == []


def test_what_is_left_as_it_is_exists_and_is_few():
    assert LEFT - FIELDS.keys() == set()
    assert {name for name in LEFT if NAMES[name] == "shared"} >= ON_PURPOSE


def test_every_name_of_an_experiment_is_covered():
    records = (
        Branch(f"{CANARY}-a", f"refs/heads/{CANARY}"),
        PromptFingerprint(CANARY, f"{CANARY} 2"),
        Plan(workspaces=(f"/srv/{CANARY}",), repository=f"/srv/{CANARY}"),
        Segment(dimension="model", value=f"{CANARY}-7b", result=None),
    )
    assert len(set(find_fields(records))) == 7
    assert list(find_fields(SHARE.project(records))) == []


def test_public_names_stay():
    segments = [Segment(dimension="model", value=name, result=None) for name in ("claude-opus-4-5-20251101", "codex")]
    assert [segment.value for segment in SHARE.project(segments)] == ["claude-opus-4-5-20251101", "codex"]
