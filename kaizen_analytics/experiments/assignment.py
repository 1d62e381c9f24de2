"""The lot of an experiment: freeze it at the start, publish it to the hooks, draw without one.

A published experiment is one file in `$KAIZEN_HOME/assignments/` that `hook` reads. It holds the texts of both arms, so
only its owner may read it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.core.files import write_file
from kaizen_analytics.core.model import State
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.plan import Plan, Unit, get_plan
from kaizen_analytics.experiments.sample import read_scope
from kaizen_analytics.hook import CONTROL, TREATMENT, append_record, draw
from kaizen_analytics.store.assignments import read_draws, spool_beside
from kaizen_analytics.store.experiments import get_experiment, list_experiments

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.store import Store

_MIN_UNITS = 20
"""Units of the last `PAST_DAYS` days below which no experiment on them starts."""
PAST_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class PastUnits:
    """How many units past sessions would have made, and how many of these sessions the largest unit has."""

    n_units: int
    n_sessions: int
    largest: int


def freeze_randomisation(store: Store, plan: Plan, now_ms: int) -> Plan:
    """Return the plan of a starting experiment with its seed; unchanged without a lot.

    Raises:
        ExperimentError: the last 30 days hold too few units to draw.

    >>> freeze_randomisation(store, Plan(), 0).randomisation is None
    True
    """
    lot = plan.randomisation
    if lot is None:
        return plan
    units = count_units(store, plan, lot.unit, now_ms)
    if units.n_units < _MIN_UNITS:
        raise ExperimentError(
            f"The last {PAST_DAYS} days hold {units.n_units} {lot.unit.plural} in the planned workspaces; a lot needs "
            f"{_MIN_UNITS} or more, or chance alone decides. Ingest the past sessions first, or draw a smaller unit "
            f"(--assign {Unit.SESSION})."
        )
    return replace(plan, randomisation=replace(lot, seed=secrets.token_hex(16)))


def count_units(store: Store, plan: Plan, unit: Unit, now_ms: int) -> PastUnits:
    """Return how many units the last 30 days hold in the plan's workspaces, and how sessions share them.

    >>> count_units(store, Plan(), Unit.USER, 0)
    PastUnits(n_units=0, n_sessions=0, largest=0)
    """
    sessions = read_scope(store, plan.workspaces)
    recent = sessions.filter(pl.col("started_at_ms").is_between(now_ms - PAST_DAYS * DAY_MS, now_ms))
    columns = {
        Unit.SESSION: pl.col("session_id"),
        Unit.DAY: pl.col("started_at_ms") // DAY_MS,
        Unit.BRANCH: pl.col("branch"),
        Unit.USER: pl.col("user_name"),
    }
    sizes = recent.select(columns[unit].drop_nulls().alias("unit")).group_by("unit").len()["len"].to_list()
    return PastUnits(n_units=len(sizes), n_sessions=sum(sizes), largest=max(sizes, default=0))


def load_contents(store: Store, experiment_id: str) -> dict[str, ArmContent]:
    """Return what the sessions of each arm get, by arm; empty for an experiment without a lot.

    >>> load_contents(store, "plan-first")
    {}
    """
    rows = store.native("select arm, content from ka_arms where experiment_id = ?", experiment_id)
    return {arm or "": codec.read(ArmContent, text or "", f"Arm {arm} of {experiment_id}") for arm, text in rows}


def _build_document(store: Store, experiment_id: str, plan: Plan) -> dict[str, Any]:
    """Return what the hooks read of a running experiment.

    Raises:
        ExperimentError: its arms are not drawn by lot, it has not started, or an arm is not as it was then.
    """
    lot, contents = plan.randomisation, load_contents(store, experiment_id)
    if lot is None:
        raise ExperimentError(f"The arms of experiment {experiment_id} are not drawn by lot.")
    window = plan.require_start(experiment_id).window
    planned = {CONTROL: lot.control_sha256, TREATMENT: lot.treatment_sha256}
    if {arm: content.sha256 for arm, content in contents.items()} != planned:
        raise ExperimentError(
            f"The arms of experiment {experiment_id} are not those that were planned: their digests differ. "
            "Restore the store from a backup, or start a new experiment."
        )
    return {
        "format": 1,
        "experiment": experiment_id,
        "seed": lot.seed,
        "unit": lot.unit.value,
        "control_share": plan.control_share,
        "window_start_ms": window.start_ms,
        "window_end_ms": window.end_ms,
        "workspaces": list(plan.workspaces),
        "spool": str(spool_beside(store.path)),
        "needs_launch": any(content.needs_launch for content in contents.values()),
        "arms": {arm: codec.store(content) for arm, content in contents.items()},
    }


def publish(store: Store, folder: Path) -> None:
    """Make `folder` hold exactly the running experiments of this store whose arms are drawn, and those of other stores.

    >>> publish(store, tmp)
    >>> list(tmp.iterdir())
    []
    """
    wanted = {}
    for experiment in list_experiments(store):
        plan = get_plan(store, experiment.id) if experiment.state is State.RUNNING else None
        if plan is not None and plan.randomisation is not None:
            wanted[_file_name(experiment.id)] = _build_document(store, experiment.id, plan)
    spool = str(spool_beside(store.path))
    for file in folder.glob("*.json"):
        if file.name not in wanted and json.loads(file.read_bytes())["spool"] == spool:
            file.unlink(missing_ok=True)
    for name, document in wanted.items():
        _write_file(folder / name, json.dumps(document, ensure_ascii=False, indent=1) + "\n")


def _file_name(experiment_id: str) -> str:
    """Return the name of an experiment's file: its id where that is a plain word, so that no id leaves the folder."""
    is_plain = re.fullmatch(r"[A-Za-z0-9_-]{1,80}", experiment_id)
    return f"{experiment_id if is_plain else hashlib.sha256(experiment_id.encode()).hexdigest()}.json"


def _write_file(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step, unless it holds this text already."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text.encode())


def draw_unit(store: Store, experiment_id: str, unit_id: str) -> tuple[str, ArmContent]:
    """Return the arm of a unit of a running experiment, and what the sessions of that arm get.

    Raises:
        ExperimentError: the experiment is not running, or its arms are not drawn by lot.

    >>> draw_unit(store, "plan-first", "s1")
    Traceback (most recent call last):
    kaizen_analytics.core.errors.ExperimentError: Experiment plan-first is Concluded; arms are drawn while it runs.
    """
    experiment = get_experiment(store, experiment_id)
    if experiment.state is not State.RUNNING:
        raise ExperimentError(f"Experiment {experiment.id} is {experiment.state}; arms are drawn while it runs.")
    document = _build_document(store, experiment.id, get_plan(store, experiment.id) or Plan())  # imported: no lot
    arm = draw(document["seed"], experiment.id, unit_id, document["control_share"])
    return arm, load_contents(store, experiment.id)[arm]


def record_draw(store: Store, experiment_id: str, session_id: str, unit_id: str, arm: str, now_ms: int) -> None:
    """Record that a session started in the arm of its unit; the first record of a session decides.

    Raises:
        ExperimentError: the session was drawn before, with another unit.

    >>> record_draw(store, "plan-first", "s1", "u1", "Control", 0)  # doctest: +SKIP
    """
    known = {item.session_id: item for item in read_draws(store, experiment_id)}.get(session_id)
    if known is not None and known.unit != unit_id:
        raise ExperimentError(
            f"Session {session_id} takes part with the unit {known.unit}, not {unit_id}; its first start decides."
        )
    if known is None:
        record = {"experiment": experiment_id, "session": session_id, "unit": unit_id, "arm": arm, "at_ms": now_ms}
        append_record(spool_beside(store.path), record)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmContent:
    """What the sessions of one arm get, everything optional.

    `text` is added by the hook. `file` is an instruction file that the sessions of the other arm do not read. `args`
    are added to the agent's command line, `env` (KEY=VALUE) to its environment, `settings` (JSON) to its settings.
    """

    text: str | None = None
    file: str | None = None
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    settings: str | None = None

    @property
    def needs_launch(self) -> bool:
        """Whether only `run` can give a session this content, or keep the other arm's from it."""
        return bool(self.file or self.args or self.env or self.settings)

    @property
    def sha256(self) -> str:
        """The digest that the plan freezes."""
        return hashlib.sha256(codec.write(self).encode()).hexdigest()


def read_content(
    *, text: Path | None, file: str | None, args: str | None, env: list[str] | None, settings: Path | None
) -> ArmContent:
    """Return the content of an arm from the options of `exp new`.

    Raises:
        ConfigError: a file cannot be read or is empty, or an option has another form.

    >>> read_content(text=None, file=None, args="--model haiku", env=["LEVEL=1"], settings=None).args
    ('--model', 'haiku')
    """
    wrong = [pair for pair in env or () if not pair.partition("=")[0] or "=" not in pair]
    if wrong:
        raise ConfigError(f"The variable {wrong[0]!r} has no value; expected KEY=VALUE.")
    try:
        words = shlex.split(args or "")
    except ValueError as error:
        raise ConfigError(f"The arguments {args!r} cannot be split: {error}.") from error
    return ArmContent(
        text=_read_file(text),
        file=file,
        args=tuple(words),
        env=tuple(env or ()),
        settings=_read_settings(settings),
    )


def _read_file(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}") from error
    if not text.strip() or "\0" in text:
        raise ConfigError(f"{path} {'is empty' if not text.strip() else 'contains U+0000'}; expected a text.")
    return text


def _read_settings(path: Path | None) -> str | None:
    text = _read_file(path)
    if text is None:
        return None
    try:
        settings = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} is not a JSON object; expected settings of the agent.")
    return text
