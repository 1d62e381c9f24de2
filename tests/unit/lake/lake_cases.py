"""Sessions of several machines, the stores that hold them, and what the same things are called in a lake."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import experiment_cases
import polars as pl
from experiment_cases import DAY_MS

from kaizen_analytics.core.model import (
    Branch,
    Classification,
    DesignKind,
    Direction,
    Experiment,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
)
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.plan import Cluster, Plan
from kaizen_analytics.exports.columns import _LAKE_MODELS
from kaizen_analytics.exports.lake.export import export_lake
from kaizen_analytics.exports.lake.reading import name_workspace
from kaizen_analytics.exports.project import ID_DIGITS
from kaizen_analytics.redact import Pseudonyms, Scanner
from kaizen_analytics.store import Store, write_sessions
from kaizen_analytics.store.frames import session_metrics

KEY = bytes(range(32))
SCANNER = Scanner()
START_MS = 1_790_000_000_000
LATER_MS = START_MS + 20 * DAY_MS
MACHINES = 5
KINDS = ("Message", "ToolCall", "ToolResult", "Message", "Error", "Hook", "ToolCall")


@dataclass(frozen=True)
class Case:
    """One session with what hangs on it."""

    row: dict[str, object]
    events: list[dict[str, object]]
    files: list[str] = field(default_factory=list)
    user: str | None = None
    organisation: str | None = None

    def cut(self, n: int) -> "Case":
        """The same session when only `n` of its events had happened."""
        return Case({**self.row, "ended_at_ms": None}, self.events[:n], self.files[:1], self.user, self.organisation)


@dataclass(frozen=True)
class Exported:
    """A store, the lake that it was exported to, and the home it was exported from."""

    store: Path
    lake: Path
    home: Path


def make_cases(machine: int, n: int = 14) -> list[Case]:
    """Sessions of one machine over several days; every fourth was started by the one before it."""
    generator = random.Random(machine)
    cases = []
    for number in range(n):
        name = f"S{machine}-{number:03d}"
        started_ms = START_MS + number * DAY_MS // 3 + machine * 1_009 + number * 17
        arm = "old" if (number + machine) % 2 else "new"
        row = {
            "id": name,
            "agent": ("claude_code", "codex", "goose")[number % 3],
            "model": ("claude-opus-4-5", "acme-internal-9", None)[number % 3],
            "workspace": f"/srv/Team{machine % 3}" + ("/sub" if number % 5 == 0 else ""),
            "started_at_ms": started_ms,
            "ended_at_ms": started_ms + 600_000 + number * 1_000,
            "status": "Done",
            "trace_path": f"/home/u{machine}/{name}.jsonl",
            "prompt_fingerprint": arm,
            "branch": f"refs/heads/{arm}",
            "dirty_start": number % 2,
            "repo_binding_source": "inferred" if number % 7 == 0 else "",
            "parent_session_id": f"S{machine}-{number - 1:03d}" if number % 4 == 3 else None,
        }
        events = [_event(name, seq, started_ms, arm, generator) for seq in range(6 + number % 5)]
        files = [f"src/{letter}.py" for letter in "abC"[: number % 4]]
        cases.append(Case(row, events, files, f"u{machine}@x", f"Org{machine % 2}"))
    return cases


def _event(name: str, seq: int, started_ms: int, arm: str, generator: random.Random) -> dict[str, object]:
    kind = KINDS[seq % 7]
    row = {
        "session_id": name,
        "seq": seq,
        "ts_ms": started_ms + seq * generator.randint(1_000, 400_000),
        "ts_exact": 1,
        "kind": kind,
        "source": "Tail",
        "tool": generator.choice(["Bash", "bash", "mcp__acme__find"]) if kind == "ToolCall" else None,
        "payload": "{}",
        "tokens_in": None,
        "tokens_out": None,
        "cache_read_tokens": None,
        "cost_usd_e6": None,
    }
    if kind == "Message" and seq % 7 == 0:
        row["payload"] = '{"role": "user", "prompt": true, "text": "make it work"}'
    elif kind == "Message":
        used = generator.randint(500, 900) * (2 if arm == "old" else 1)
        row |= {"tokens_in": used, "tokens_out": used // 7, "cache_read_tokens": 11, "cost_usd_e6": used * 3}
        row["payload"] = '{"role": "assistant", "unreliable": true}'
    elif kind == "ToolResult":
        row["payload"] = '{"is_error": true}' if generator.random() < 0.3 else '{"is_error": false}'
    return row


def write_store(path: Path, cases: Iterable[Case]) -> Path:
    """Write sessions into a store, new or not; a session that is there is replaced."""
    given = list(cases)
    events = [event for case in given for event in case.events]
    files = [{"session_id": case.row["id"], "path": file} for case in given for file in case.files]
    people = [(case.row["id"], case.user, case.organisation) for case in given]
    with Store.open(path, create=True) as store:
        children = {"events": _frame(events), "files_touched": _frame(files)}
        write_sessions(store, _frame([case.row for case in given]), children)
        for person in people:
            store.native(
                "insert or replace into ka_session_attributes (session_id, user, organisation) values (?, ?, ?) "
                "returning 1",
                *person,
            )
    return path


def _frame(rows: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def make_experiment(**changes: object) -> Experiment:
    given = {
        "binding": PromptFingerprint(control_fingerprint="old", treatment_fingerprint="new"),
        "created_at_ms": START_MS - DAY_MS,
        "guardrails": (GuardrailSpec(Metric.SUCCESS_RATE, Direction.DECREASE, 10.0),),
    }
    return experiment_cases.make_experiment(**given | changes)


def start_experiment(path: Path, experiment: Experiment | None = None, **plan: object) -> Experiment:
    """Start an experiment in a store, one fixed look unless the plan says otherwise."""
    chosen = experiment or make_experiment()
    with Store.open(path) as store:
        lifecycle.new_experiment(
            store, chosen, Plan(**{"design": DesignKind.FIXED, "cluster": Cluster.WORKSPACE, **plan})
        )
        lifecycle.start(store, chosen.id, now_ms=START_MS)
    return chosen


def export(path: Path, lake: Path | str, home: Path, key: bytes = KEY):
    return export_lake(path, str(lake), key, home=home, scanner=SCANNER)


def name_id(text: str, key: bytes = KEY) -> str:
    """What an id is called in a lake."""
    return Pseudonyms(key).name("us", text.encode(), digits=ID_DIGITS)


def name_model(text: str | None) -> str | None:
    return text if text is None or text in _LAKE_MODELS else Pseudonyms(KEY).exact(text.encode(), digits=ID_DIGITS)


def name_agent(text: str) -> str:
    return Pseudonyms(KEY).exact(text.encode(), digits=ID_DIGITS) if text == "goose" else text


def expected_metrics(path: Path, *, rollup: bool = True) -> pl.DataFrame:
    """The metrics of one store, under the names that a lake uses."""
    with Store.open(path, read_only=True) as store:
        frame = session_metrics(store, rollup=rollup)
    renamed = {
        "session_id": name_id,
        "workspace": lambda text: name_workspace(text, KEY),
        "model": name_model,
        "agent": name_agent,
    }
    columns = [
        pl.Series(column, [None if cell is None else name(cell) for cell in frame[column]], pl.String)
        for column, name in renamed.items()
    ]
    return frame.with_columns(columns).sort("session_id")


def contents(lake: Path) -> dict[str, bytes]:
    return {str(path.relative_to(lake)): path.read_bytes() for path in sorted(lake.rglob("*")) if path.is_file()}


EXPERIMENTS = {
    "exp-1": (make_experiment(), {"cluster": Cluster.WORKSPACE}),
    "exp-organisation": (make_experiment(id="exp-organisation"), {"cluster": Cluster.ORGANISATION}),
    "exp-scoped": (make_experiment(id="exp-scoped"), {"cluster": Cluster.NONE, "workspaces": ("/srv/Team0",)}),
    "exp-branch": (
        make_experiment(id="exp-branch", binding=Branch("old", "new")),
        {"design": DesignKind.OPEN, "cluster": Cluster.USER},
    ),
    "exp-manual": (make_experiment(id="exp-manual", binding=ManualTag("")), {"cluster": Cluster.NONE}),
}


def tag_some(path: Path, *others: object) -> None:
    with Store.open(path) as store:
        for arm, numbers in ((Classification.CONTROL, range(6)), (Classification.TREATMENT, range(6, 12))):
            names = [f"S{machine}-{number:03d}" for machine in (0, 3, 4) for number in numbers if number % 4 != 3]
            lifecycle.tag(store, "exp-manual", names, arm, now_ms=START_MS)
        lifecycle.tag(store, "exp-manual", [str(name) for name in others], Classification.EXCLUDED, now_ms=START_MS)


def make_team(folder: Path) -> tuple[Path, Path]:
    """A lake that five machines exported to, and the one store that holds all they have."""
    cases = [make_cases(machine) for machine in range(MACHINES)]
    single = write_store(folder / "single.db", [case for own in cases for case in own])
    stores = [write_store(folder / f"m{machine}.db", own) for machine, own in enumerate(cases[:3])]
    # Machine 3 also holds sessions of machine 2: some whole, some as they were half-way.
    copied = [case if number % 2 else case.cut(3) for number, case in enumerate(cases[2])]
    stores.append(write_store(folder / "m3.db", [*cases[3], *copied]))
    # Machine 4 exports while its last sessions are still running, and again late.
    stores.append(write_store(folder / "m4.db", [case.cut(2) for case in cases[4]]))
    for experiment, plan in EXPERIMENTS.values():
        for store in (single, stores[0]):
            start_experiment(store, experiment, **plan)
            if experiment.id == "exp-manual":
                tag_some(store, cases[1][0].row["id"], cases[2][0].row["id"])
    lake = folder / "lake"
    for machine, store in enumerate(stores):
        export(store, lake, folder / f"home{machine}")
    write_store(stores[4], cases[4])
    for machine, store in enumerate(stores):
        export(store, lake, folder / f"home{machine}")
    return lake, single
